"""A method: what may vary, who proposes it, and how a proposal becomes a plan; and their registry.

A method is a class with `name`, `Options` and `searcher`, `space`, `plan`; where it wants them, a
scheduler that stops evaluations early and a policy that changes rates while they train. It is
found in three places: here (the two of the paper), in the modules that the configuration's
`plugins` names, and in the entry points of the group `revo_ray.methods` of other packages.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from revo_ray.errors import UserError
from revo_ray.evolve.proposals import Proposals, Sample
from revo_ray.evolve.space import Space
from revo_ray.finetune.plan import Plan
from revo_ray.methods.genome import BinaryGenome, ContinuousGenome, Genome, RelativeGenome, UnitLike
from revo_ray.settings.options import Bounds, Exponent, Highest
from revo_ray.settings.schema import MethodConfig, SearchOptions, Section, TrainConfig
from revo_ray.words import shown

if TYPE_CHECKING:
    from revo_ray.finetune.training.tuner import Policy

DOCUMENTED_KEYS = frozenset({"algorithm", "scale", "encoding", "global_lr"})
"""Keys of `method:` that every file may have, whichever methods are installed."""

ENTRY_POINTS = "revo_ray.methods"


class Method(ABC):
    """One way of choosing plans.

    Subclasses set `name` and `Options`, and are instantiated with validated options.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Section]] = Section

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def space(self, units: Sequence[UnitLike]) -> Space:
        """What may vary in a network of these units, input to output."""

    @abstractmethod
    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """How the network learns under a sample of that space."""

    @abstractmethod
    def searcher(self, space: Space, search: SearchOptions) -> Proposals[Any]:
        """Who proposes samples: one instance serves one search."""

    def scheduler(self, search: SearchOptions, train: TrainConfig) -> Any | None:
        """A `ray.tune` scheduler that stops evaluations early; None if nothing does.

        Its `time_attr` is `epoch`; its metric and mode are the column and the mode of
        `search.metric`.
        """
        return None

    @classmethod
    def policy(cls, options: Mapping[str, Any]) -> Policy | None:
        """What changes rates at each epoch, from what `Plan.policy` carries; None: nothing."""
        return None

    def genome(self, sample: Sample) -> list[float]:
        """The sample as numbers, for the ledger; what is no number is left out."""
        return [float(value) for value in sample.values() if isinstance(value, int | float)]

    @classmethod
    def summary(cls) -> str:
        """The first line of the class's docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]


class EvolveOptions(Section):
    """Keys that all encodings share."""

    algorithm: Literal["catcmawm", "cmawm", "sop", "cma"] = "catcmawm"
    """The variant of mixed-variable CMA-ES; sop is the one that the paper cites."""
    sigma: float | None = Field(None, gt=0, le=1)
    """Initial standard deviation, as a fraction of each gene's range; None: the algorithm's."""


class Evolved(Method):
    """What the encodings share: CMA-ES over a genome."""

    genome_type: Genome

    def space(self, units: Sequence[UnitLike]) -> Space:
        """The space of the genome."""
        return self.genome_type.space(units)

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """The plan of the genome."""
        return self.genome_type.plan(sample, units)

    def genome(self, sample: Sample) -> list[float]:
        """The genes as numbers."""
        return self.genome_type.genome(sample)

    def searcher(self, space: Space, search: SearchOptions) -> Proposals[Any]:
        """CMA-ES by generations, with lookahead and reuse.

        Raises:
            UserError: the algorithm cannot search that space.
        """
        from revo_ray.evolve.cmamv import CMAMV  # a second of scipy, which no worker needs

        try:
            optimiser = CMAMV(
                space,
                algorithm=self.options.algorithm,
                population_size=search.population,
                sigma=self.options.sigma,
                seed=search.seed,
            )
        except ValueError as error:
            raise UserError(str(error), key="method.algorithm") from None
        return Proposals(
            optimiser,
            space.key,
            budget=search.evaluations,
            lookahead=search.lookahead,
            reuse=True,
        )


class RateOptions(EvolveOptions):
    """Where the rates lie."""

    low: Exponent = -4.0
    """Rates are searched from 10^low, on a log scale."""
    high: Highest = Field(None, validate_default=True)
    """To 10^high: 1 with SGD, 0.1 with AdamW."""
    start: float | None = Field(None, ge=0, le=1)
    """Where between low and high the search starts; None: in the middle, 0.5."""


class RevoBinary(Evolved):
    """REVO-Tune's binary encoding: which units train, at one shared rate (eq. 1)."""

    name = "revo-binary"

    class Options(RateOptions):
        global_lr: Annotated[float, Field(gt=0)] | Literal["searched"] = "searched"
        """The shared rate, or `searched`."""
        head: Literal["trained", "searched"] = "trained"
        """searched: the new head may be frozen too, the paper's literal reading."""
        frozen: float = Field(0.5, gt=0, lt=1)
        """How probable it is at first that a unit is frozen."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        low, high = _exponents(options)
        self.genome_type = BinaryGenome(
            global_lr=options.global_lr,
            head=options.head,
            low=low,
            high=high,
            start=options.start,
            frozen=options.frozen,
        )


class RelativeOptions(RateOptions):
    """Keys of a genome that is relative to a base rate, which low, high and start are of."""

    spread: float = Field(2.0, gt=0, le=6)
    """Decades that a unit's rate may lie above or below the base rate."""
    weight_decay: Bounds | None = (1e-6, 1e-1)
    """Between what weight decays to search, on a log scale; None: there is none."""


class RevoContinuous(Evolved):
    """REVO-Tune's continuous encoding: a rate for each unit (eq. 2)."""

    name = "revo-continuous"

    class Options(RelativeOptions):
        scale: Literal["log", "linear", "relative"] = "log"
        """log: rates from 10^low to 10^high; linear: the gene is the rate, as in the paper;
        relative: a base rate, and a ratio to it for each unit (`spread`, `weight_decay`)."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        low, high = _exponents(options)
        if options.scale == "relative":
            self.genome_type = _relative(options)
        else:
            self.genome_type = ContinuousGenome(
                scale=options.scale, low=low, high=high, start=options.start
            )


class RevoMixed(Evolved):
    """A base rate, and for each unit a ratio to it and a freeze bit: both encodings in one."""

    name = "revo-mixed"

    class Options(RelativeOptions):
        frozen: float = Field(0.1, gt=0, lt=1)
        """How probable it is at first that a unit is frozen."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.genome_type = _relative(options, options.frozen)


def _exponents(options: RateOptions) -> tuple[float, float]:
    if options.low >= options.high:
        raise UserError(
            f"is {options.low:g}; it must be below method.high, {options.high:g}", key="method.low"
        )
    return options.low, options.high


def _relative(options: RelativeOptions, frozen: float = 0.0) -> RelativeGenome:
    low, high = _exponents(options)
    return RelativeGenome(
        low=low,
        high=high,
        start=options.start,
        spread=options.spread,
        weight_decay=options.weight_decay,
        frozen=frozen,
    )


BUILT_IN: tuple[type[Method], ...] = (RevoContinuous, RevoBinary, RevoMixed)


def load_methods(plugins: Iterable[str] = ("baselines",)) -> dict[str, type[Method]]:
    """Every method by name: built in, from plugin modules, from entry points.

    A plugin module has a `METHODS` sequence of `Method` classes. It is looked for in the working
    folder too, so that a checkout, or a Ray job's upload, needs no installation.

    Raises:
        UserError: a plugin cannot be imported, or has no such sequence.
    """
    found: dict[str, type[Method]] = {method.name: method for method in BUILT_IN}
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for plugin in plugins:
        try:
            methods = [_checked(m) for m in importlib.import_module(plugin).METHODS]
        except Exception as error:  # a plugin is anyone's code
            raise UserError(
                f"cannot load methods from {shown(plugin)}: {error}", key="plugins"
            ) from None
        found.update((method.name, method) for method in methods)
    for method in _installed():
        found.setdefault(method.name, method)
    return found


@cache
def _installed() -> tuple[type[Method], ...]:
    """The methods of other packages."""
    found = []
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            found.append(_checked(entry.load()))
        except Exception as error:  # one broken package must not stop those who do not use it
            warnings.warn(f"cannot load the method {entry.name!r}: {error}", stacklevel=2)
    return tuple(found)


def _checked(method: Any) -> type[Method]:
    if not (isinstance(method, type) and issubclass(method, Method) and hasattr(method, "name")):
        raise TypeError(f"{method!r} is not a class of Method with a name")
    return method


def make_method(
    config: MethodConfig,
    plugins: Iterable[str] = ("baselines",),
    train: TrainConfig | None = None,
) -> Method:
    """The configured method, with its options checked.

    Keys that belong to other methods are passed over, so that one file fits several methods.

    Args:
        config: its name and options.
        plugins: modules with more methods.
        train: whose optimizer some defaults follow; None: the defaults.

    Raises:
        UserError: no such method, a key that no method has, or a value that does not fit.
    """
    known = load_methods(plugins)
    if config.name not in known:
        close = difflib.get_close_matches(config.name, known, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(
            f"no method {shown(config.name)}{hint} (there are {', '.join(sorted(known))})",
            key="method.name",
        )
    method = known[config.name]
    others = DOCUMENTED_KEYS.union(*(other.Options.model_fields for other in known.values()))
    foreign = others - set(method.Options.model_fields)
    own = {key: value for key, value in config.options.items() if key not in foreign}
    try:
        options = method.Options.model_validate(own, context={"train": train})
    except ValidationError as error:
        raise _option_error(error, method) from None
    return method(options)


def find_policy(plan: Plan, plugins: Iterable[str] = ("baselines",)) -> Policy | None:
    """The per-epoch policy that a plan asks for; None where it asks for none.

    Raises:
        ValueError: no method of that name, or it has no policy.
    """
    if plan.policy is None:
        return None
    options = dict(plan.policy)
    method = load_methods(plugins).get(options.pop("method"))
    policy = method.policy(options) if method else None
    if policy is None:
        raise ValueError(f"no method has the policy {dict(plan.policy)!r}")
    return policy


def _option_error(error: ValidationError, method: type[Method]) -> UserError:
    detail = error.errors()[0]
    name = str(detail["loc"][0]) if detail["loc"] else ""
    key = f"method.{name}" if name else "method"
    if detail["type"] == "extra_forbidden":
        fields = [*method.Options.model_fields, "name"]
        close = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
        hint = f"; did you mean method.{close[0]}?" if close else ""
        return UserError(f"{method.name} has no such key{hint}", key=key)
    message = detail["msg"].removeprefix("Value error, ")
    return UserError(f"{message[:1].lower()}{message[1:]}, not {shown(detail['input'])}", key=key)
