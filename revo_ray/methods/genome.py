"""Genomes: the search space over the units of a network, and the plan of a sample.

There are the two encodings of the REVO-Tune paper (section 3.3), and one relative to a base rate.
A network is an ordered list of units; one of them is the new classifier head.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import ClassVar, Literal

from revo_ray.evolve.space import Categorical, Real, Sample, Space, Variable
from revo_ray.evolve.sweep import middle_first
from revo_ray.finetune.plan import Plan
from revo_ray.methods.method import UnitLike
from revo_ray.methods.rate_transfer import depths, filled
from revo_ray.methods.recipe import DECAYS, WEIGHT_DECAY, Recipe, recipe_plan, recipe_variables
from revo_ray.settings.options import HIGHEST, LOWEST

GLOBAL_LR = "global_lr"
BASE_LR = "base_lr"
TRAINS = "trains "
"""Prefix of the name of a unit's freeze bit, if the unit's own name is that of its ratio."""

LEAST_HEAD_LR = 1e-6
"""The new classifier head always trains; a linear gene of 0 would freeze it."""


DECADES = 0.5
"""Initial standard deviation of a rate on a log scale, if its range is wide enough."""
WIDEST = 0.25
"""Largest initial standard deviation of a rate, as a fraction of its range: with a larger one most
samples would lie on the bounds."""


@dataclass(frozen=True)
class Common:
    """Fields that all genomes share: the sweep of rates, and genes of training settings.

    Attributes:
        sigma: initial standard deviation of all genes, as a fraction of their ranges; None:
            `DECADES` for rates on a log scale, the optimiser's for others.
        recipe: names of the settings that are genes.
        weight_decay: range of the weight decay if it is a gene, on a log scale; None: `DECAYS`.
    """

    _overall: ClassVar[str] = ""
    """Name of the gene of the overall rate, if there is one."""

    sigma: float | None = field(default=None, kw_only=True)
    recipe: Recipe | None = field(default=None, kw_only=True)
    weight_decay: tuple[float, float] | None = field(default=None, kw_only=True)

    def opening(self, space: Space, count: int) -> list[Sample]:
        """The samples of the sweep: one rate for all units, nothing frozen.

        A space around winners has none: their rates are better than any of a sweep's.

        Args:
            space: of this genome.
            count: number of samples.
        """
        swept = self._rates(space)
        if not swept or any(each.winners for each in swept.values()):
            return []
        others = {name: _start(each) for name, each in space.items() if name not in swept}
        return [
            {n: swept[n].from_unit(place) if n in swept else others[n] for n in space}
            for place in middle_first(count)
        ]

    @property
    def searches_log_rates(self) -> bool:
        """Whether it searches rates on a log scale: a sweep and rates of other searches fit it."""
        return True

    def _bits(self, rates: Iterable[float], names: Iterable[str], space: Space) -> Sample:
        """Freeze bits of rates: those of the names that the space has."""
        return {n: int(rate > 0) for n, rate in zip(names, rates, strict=True) if n in space}

    def _rates(self, space: Space) -> dict[str, Real]:
        """The variables that together set the overall rate, on log scales; none if it is fixed."""
        rate = space.get(self._overall)
        return {self._overall: rate} if isinstance(rate, Real) else {}

    def _rate(self, low: float, high: float, start: float | None) -> Real:
        """A rate between two exponents of ten; start is its initial mean, from 0 to 1 there."""
        mean = None if start is None else _between(low, high, start)
        deviation = self._deviation(low, high)
        return Real(10.0**low, 10.0**high, log=True, start=mean, deviation=deviation)

    def _deviation(self, low: float, high: float) -> float | None:
        """Initial standard deviation of a rate between two exponents of ten."""
        return min(DECADES / (high - low), WIDEST) if self.sigma is None else None

    def _settings(self) -> dict[str, Variable]:
        return {**recipe_variables(self.recipe or (), self.weight_decay)}

    def _plan(self, rates: Iterable[float], sample: Sample) -> Plan:
        return recipe_plan(rates, sample, self.recipe or ())


@dataclass(frozen=True)
class BinaryGenome(Common):
    """A freeze bit for each unit, and one learning rate for all that train (eq. 1).

    Attributes:
        global_lr: the shared rate, or `searched`: a gene of its own, on a log scale.
        head: `trained`: the new head always trains, at the global rate; `searched`: it has a bit
            like any other unit, the paper's literal reading.
        low, high: exponents of ten, the range of a searched rate.
        start: initial mean of a searched rate, from 0 at low to 1 at high; None for the middle.
        frozen: initial probability that a unit is frozen.
    """

    global_lr: float | Literal["searched"] = "searched"
    head: Literal["trained", "searched"] = "trained"
    low: float = LOWEST
    high: float = HIGHEST
    start: float | None = None
    frozen: float = 0.5

    _overall: ClassVar[str] = GLOBAL_LR

    def space(self, units: Sequence[UnitLike]) -> Space:
        """A variable for each gene: the bits, in the order of the units, the rate, the settings."""
        weights = (self.frozen, 1 - self.frozen)
        variables: dict[str, Variable] = {
            unit.name: Categorical((0, 1), weights) for unit in units if self._is_gene(unit)
        }
        if self.global_lr == "searched":
            variables[GLOBAL_LR] = self._rate(self.low, self.high, self.start)
        return Space(variables | self._settings())

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """Rates of the units: b·η (eq. 1)."""
        rate = float(sample.get(GLOBAL_LR, self.global_lr))
        bits = (int(sample[unit.name]) if self._is_gene(unit) else 1 for unit in units)
        return self._plan((rate * bit for bit in bits), sample)

    @property
    def searches_log_rates(self) -> bool:
        """Whether its rate is a gene."""
        return self.global_lr == "searched"

    def winner(self, rates: Sequence[float], units: Sequence[UnitLike], space: Space) -> Sample:
        """The bits of rates that won elsewhere, and the geometric mean of those that train."""
        bits = self._bits(rates, (unit.name for unit in units), space)
        return {GLOBAL_LR: _fitted(space[GLOBAL_LR], _geometric_mean(rates)), **bits}

    def _is_gene(self, unit: UnitLike) -> bool:
        return self.head == "searched" or not unit.head


@dataclass(frozen=True)
class ContinuousGenome(Common):
    """A gene in [0, 1] for each unit, which sets its learning rate (eq. 2).

    Attributes:
        scale: `linear`: the gene is the rate, as in the paper; `log`: the rate is
            10^(low + gene·(high − low)).
        low, high: exponents of ten, for the log scale.
        start: the gene's initial mean; None for the middle.
    """

    scale: Literal["log", "linear"] = "log"
    low: float = LOWEST
    high: float = HIGHEST
    start: float | None = None

    def space(self, units: Sequence[UnitLike]) -> Space:
        """One gene for each unit, the head's among them, then the settings."""
        deviation = self._deviation(self.low, self.high) if self.scale == "log" else None
        genes = {
            unit.name: Real(0.0, 1.0, start=self.start, deviation=deviation, depth=depth)
            for unit, depth in zip(units, depths(len(units)), strict=True)
        }
        return Space({**genes, **self._settings()})

    def _rates(self, space: Space) -> dict[str, Real]:
        """The units' genes."""
        rates = {n: each for n, each in space.items() if isinstance(each, Real)}
        return {
            n: each for n, each in rates.items() if each.depth is not None and self.scale == "log"
        }

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """Rates of the units: the gene, or ten to the gene's place between the exponents."""
        rates = [float(sample[unit.name]) for unit in units]
        if self.scale == "log":
            rates = [_between(self.low, self.high, gene) for gene in rates]
        least = (LEAST_HEAD_LR if unit.head else 0.0 for unit in units)
        return self._plan(map(max, rates, least), sample)

    @property
    def searches_log_rates(self) -> bool:
        """Whether its genes are on a log scale."""
        return self.scale == "log"

    def winner(self, rates: Sequence[float], units: Sequence[UnitLike], space: Space) -> Sample:
        """The genes of rates that won elsewhere; nothing is frozen here."""
        width = self.high - self.low
        genes = ((math.log10(rate) - self.low) / width for rate in filled(rates, units))
        return {u.name: _fitted(space[u.name], gene) for u, gene in zip(units, genes, strict=True)}


@dataclass(frozen=True)
class RelativeGenome(Common):
    """A base rate, and for each unit the decades by which its own rate lies above or below it.

    One rate for all units is the middle of the space, so a search refines around the rate that it
    finds. With freeze bits the genome mixes real and binary genes.

    Attributes:
        low, high: exponents of ten, the range of the base rate.
        start: initial mean of the base rate, from 0 at low to 1 at high; None for the middle.
        spread: decades that a unit's rate may lie above or below the base rate.
        weight_decay: range of the weight decay, on a log scale; None: no weight decay, unless
            `recipe` names it.
        frozen: initial probability that a unit is frozen; 0: there are no bits. The head has none.
    """

    low: float = LOWEST
    high: float = HIGHEST
    start: float | None = None
    spread: float = 2.0
    weight_decay: tuple[float, float] | None = DECAYS
    frozen: float = 0.0

    _overall: ClassVar[str] = BASE_LR

    def space(self, units: Sequence[UnitLike]) -> Space:
        """The base rate, the weight decay, other settings, the bits, and a ratio for each unit."""
        variables: dict[str, Variable] = {BASE_LR: self._rate(self.low, self.high, self.start)}
        if self.weight_decay is not None:
            variables |= recipe_variables((WEIGHT_DECAY,), self.weight_decay)
        variables |= self._settings()
        if self.frozen:
            weights = (self.frozen, 1 - self.frozen)
            variables |= {
                TRAINS + unit.name: Categorical((0, 1), weights) for unit in units if not unit.head
            }
        deviation = self._deviation(-self.spread, self.spread)
        ratios = {
            unit.name: Real(-self.spread, self.spread, deviation=deviation, depth=depth)
            for unit, depth in zip(units, depths(len(units)), strict=True)
        }
        return Space(variables | ratios)

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """Rates of the units: b·base·10^ratio."""
        base = float(sample[BASE_LR])
        rates = (
            base * math.pow(10.0, float(sample[unit.name])) * sample.get(TRAINS + unit.name, 1)
            for unit in units
        )
        return self._plan(rates, sample)

    def winner(self, rates: Sequence[float], units: Sequence[UnitLike], space: Space) -> Sample:
        """The base, ratios and bits of rates that won elsewhere; their geometric mean is the base.

        The weight decay is not among them.
        """
        base = _fitted(space[BASE_LR], _geometric_mean(rates))
        bits = self._bits(rates, (TRAINS + unit.name for unit in units), space)
        ratios = {
            unit.name: _fitted(space[unit.name], math.log10(rate / base))
            for unit, rate in zip(units, filled(rates, units), strict=True)
        }
        return {BASE_LR: base, **bits, **ratios}


def _geometric_mean(rates: Sequence[float]) -> float:
    """Mean on a log scale of the rates above 0; there is at least one."""
    return math.pow(10.0, fmean(math.log10(rate) for rate in rates if rate > 0))


def _fitted(variable: Variable, value: float) -> float:
    """The value in the variable's range that is nearest to this one."""
    assert isinstance(variable, Real)
    return min(max(value, variable.low), variable.high)


def _start(variable: Variable) -> float | int:
    """The value with which a variable that is not swept stands in a sweep: a bit trains."""
    if isinstance(variable, Categorical):
        return 1
    return variable.from_unit(variable.start_unit)


def _between(low: float, high: float, place: float) -> float:
    """Ten to the exponent at a place from 0 to 1 between low and high."""
    return math.pow(10.0, low + place * (high - low))


Genome = BinaryGenome | ContinuousGenome | RelativeGenome
"""The genomes of the revo methods."""
