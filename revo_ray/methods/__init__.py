"""Methods: what a search varies, who proposes samples, and how a sample becomes a plan.

A plugin imports all that it needs from here. Its classes of `Method` are found in the modules that
`plugins` names, and in the entry points of the group `revo_ray.methods`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from revo_ray.errors import UserError
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Outcome, Proposals, ReplayError
from revo_ray.evolve.space import Categorical, Integer, Real, Sample, Space, Variable
from revo_ray.finetune.plan import Plan, Policy, TunerLike
from revo_ray.methods.method import Method, UnitLike
from revo_ray.methods.recipe import DECAYS, Recipe, recipe_plan, recipe_variables
from revo_ray.methods.registry import find_policy, load_methods, make_method
from revo_ray.methods.revo import Evolved, RevoBinary, RevoContinuous, RevoMixed
from revo_ray.objective import Metric
from revo_ray.settings.limits import LARGEST
from revo_ray.settings.options import HIGHEST, LOWEST, Bounds, ByOptimizer, Exponent
from revo_ray.settings.schema import SearchOptions, Section, TrainConfig

if TYPE_CHECKING:
    from revo_ray.finetune.network.units import find_units

__all__ = [
    "CMAMV",
    "DECAYS",
    "HIGHEST",
    "LARGEST",
    "LOWEST",
    "Bounds",
    "ByOptimizer",
    "Categorical",
    "Evolved",
    "Exponent",
    "Integer",
    "Method",
    "Metric",
    "Outcome",
    "Plan",
    "Policy",
    "Proposals",
    "Real",
    "Recipe",
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
    "recipe_plan",
    "recipe_variables",
]


def __getattr__(name: str) -> Any:
    if name != "find_units":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from revo_ray.finetune.network.units import find_units  # imports torch

    return find_units
