"""Genomes: the search space over the units of a network, and the plan of a sample.

There are the two encodings of the REVO-Tune paper (section 3.3), and one relative to a base rate.
A network is an ordered list of units; one of them is the new classifier head.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from revo_ray.evolve.space import Categorical, Real, Sample, Space, Variable
from revo_ray.finetune.plan import Plan
from revo_ray.methods.method import UnitLike
from revo_ray.methods.recipe import DECAYS, WEIGHT_DECAY, Recipe, recipe_plan, recipe_variables

GLOBAL_LR = "global_lr"
BASE_LR = "base_lr"
TRAINS = "trains "
"""Prefix of the name of a unit's freeze bit, if the unit's own name is that of its ratio."""

LEAST_HEAD_LR = 1e-6
"""The new classifier head always trains; a linear gene of 0 would freeze it."""


@dataclass(frozen=True)
class WithRecipe:
    """Genes of training settings, which all units share.

    Attributes:
        recipe: names of the settings that are genes.
        weight_decay: range of the weight decay if it is a gene, on a log scale; None: `DECAYS`.
    """

    recipe: Recipe | None = field(default=None, kw_only=True)
    weight_decay: tuple[float, float] | None = field(default=None, kw_only=True)

    def _settings(self) -> dict[str, Variable]:
        return {**recipe_variables(self.recipe or (), self.weight_decay)}

    def _plan(self, rates: Iterable[float], sample: Sample) -> Plan:
        return recipe_plan(rates, sample, self.recipe or ())


@dataclass(frozen=True)
class BinaryGenome(WithRecipe):
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
    low: float = -4.0
    high: float = 0.0
    start: float | None = None
    frozen: float = 0.5

    def space(self, units: Sequence[UnitLike]) -> Space:
        """A variable for each gene: the bits, in the order of the units, the rate, the settings."""
        weights = (self.frozen, 1 - self.frozen)
        variables: dict[str, Variable] = {
            unit.name: Categorical((0, 1), weights) for unit in units if self._is_gene(unit)
        }
        if self.global_lr == "searched":
            variables[GLOBAL_LR] = _rate(self.low, self.high, self.start)
        return Space(variables | self._settings())

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """Rates of the units: b·η (eq. 1)."""
        rate = float(sample.get(GLOBAL_LR, self.global_lr))
        bits = (int(sample[unit.name]) if self._is_gene(unit) else 1 for unit in units)
        return self._plan((rate * bit for bit in bits), sample)

    def _is_gene(self, unit: UnitLike) -> bool:
        return self.head == "searched" or not unit.head


@dataclass(frozen=True)
class ContinuousGenome(WithRecipe):
    """A gene in [0, 1] for each unit, which sets its learning rate (eq. 2).

    Attributes:
        scale: `linear`: the gene is the rate, as in the paper; `log`: the rate is
            10^(low + gene·(high − low)).
        low, high: exponents of ten, for the log scale.
        start: the gene's initial mean; None for the middle.
    """

    scale: Literal["log", "linear"] = "log"
    low: float = -4.0
    high: float = 0.0
    start: float | None = None

    def space(self, units: Sequence[UnitLike]) -> Space:
        """One gene for each unit, the head's among them, then the settings."""
        genes = {unit.name: Real(0.0, 1.0, start=self.start) for unit in units}
        return Space({**genes, **self._settings()})

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """Rates of the units: the gene, or ten to the gene's place between the exponents."""
        rates = [float(sample[unit.name]) for unit in units]
        if self.scale == "log":
            rates = [_between(self.low, self.high, gene) for gene in rates]
        least = (LEAST_HEAD_LR if unit.head else 0.0 for unit in units)
        return self._plan(map(max, rates, least), sample)


@dataclass(frozen=True)
class RelativeGenome(WithRecipe):
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

    low: float = -4.0
    high: float = 0.0
    start: float | None = None
    spread: float = 2.0
    weight_decay: tuple[float, float] | None = DECAYS
    frozen: float = 0.0

    def space(self, units: Sequence[UnitLike]) -> Space:
        """The base rate, the weight decay, other settings, the bits, and a ratio for each unit."""
        variables: dict[str, Variable] = {BASE_LR: _rate(self.low, self.high, self.start)}
        if self.weight_decay is not None:
            variables |= recipe_variables((WEIGHT_DECAY,), self.weight_decay)
        variables |= self._settings()
        if self.frozen:
            weights = (self.frozen, 1 - self.frozen)
            variables |= {
                TRAINS + unit.name: Categorical((0, 1), weights) for unit in units if not unit.head
            }
        return Space(variables | {u.name: Real(-self.spread, self.spread) for u in units})

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """Rates of the units: b·base·10^ratio."""
        base = float(sample[BASE_LR])
        rates = (
            base * math.pow(10.0, float(sample[unit.name])) * sample.get(TRAINS + unit.name, 1)
            for unit in units
        )
        return self._plan(rates, sample)


def _rate(low: float, high: float, start: float | None) -> Real:
    """A rate between two exponents of ten; start is its initial mean, from 0 to 1 between them."""
    mean = None if start is None else _between(low, high, start)
    return Real(10.0**low, 10.0**high, log=True, start=mean)


def _between(low: float, high: float, place: float) -> float:
    """Ten to the exponent at a place from 0 to 1 between low and high."""
    return math.pow(10.0, low + place * (high - low))


Genome = BinaryGenome | ContinuousGenome | RelativeGenome
"""The genomes of the revo methods."""
