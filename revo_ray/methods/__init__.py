"""Methods: what a search varies, who proposes samples, and how a sample becomes a plan.

A plugin imports all that it needs from here. Its classes of `Method` are found in the modules that
`plugins` names, and in the entry points of the group `revo_ray.methods`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from revo_ray.errors import UserError
from revo_ray.evolve.proposals import Outcome, Proposals, ReplayError
from revo_ray.evolve.space import Categorical, Integer, Real, Sample, Space, Variable
from revo_ray.finetune.plan import Plan, Policy, TunerLike
from revo_ray.methods.method import Method, UnitLike
from revo_ray.methods.registry import find_policy, load_methods, make_method
from revo_ray.methods.revo import Evolved, RevoBinary, RevoContinuous, RevoMixed
from revo_ray.settings.options import Bounds, ByOptimizer, Exponent, Highest
from revo_ray.settings.schema import LARGEST, SearchOptions, Section, TrainConfig

if TYPE_CHECKING:
    from revo_ray.evolve.cmamv import CMAMV
    from revo_ray.finetune.network.units import find_units

__all__ = [
    "CMAMV",
    "LARGEST",
    "Bounds",
    "ByOptimizer",
    "Categorical",
    "Evolved",
    "Exponent",
    "Highest",
    "Integer",
    "Method",
    "Outcome",
    "Plan",
    "Policy",
    "Proposals",
    "Real",
    "ReplayError",
    "RevoBinary",
    "RevoContinuous",
    "RevoMixed",
    "Sample",
    "SearchOptions",
    "Section",
    "Space",
    "TrainConfig",
    "TunerLike",
    "UnitLike",
    "UserError",
    "Variable",
    "find_policy",
    "find_units",
    "load_methods",
    "make_method",
]


_SLOW = {"CMAMV": "revo_ray.evolve.cmamv", "find_units": "revo_ray.finetune.network.units"}
"""Names that load on first use: scipy, which no worker needs, and torch."""


def __getattr__(name: str) -> Any:
    if name not in _SLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_SLOW[name]), name)
