"""Genomes: what the search may vary in a network, and how a sample becomes a plan.

The two encodings of the REVO-Tune paper (section 3.3). Both see a network as an ordered list of
units, of which one is the new classifier head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from revo_ray.evolve.plan import Plan
from revo_ray.evolve.space import Categorical, Real, Space, Variable

GLOBAL_LR = "global_lr"

LEAST_HEAD_LR = 1e-6
"""The new classifier head always trains; a linear gene of 0 would freeze it."""


class UnitLike(Protocol):
    """What a genome needs to know of one unit of the network."""

    @property
    def name(self) -> str:
        """Qualified name, such as `layer1.0.conv1`."""
        ...

    @property
    def head(self) -> bool:
        """Whether it is the new classifier head."""
        ...


@dataclass(frozen=True)
class BinaryGenome:
    """A freeze bit for each unit, and one learning rate for all that train (eq. 1).

    Attributes:
        global_lr: the shared rate, or `searched`: a gene of its own, on a log scale.
        head: `trained`: the new head always trains, at the global rate; `searched`: it has a bit
            like any other unit, the paper's literal reading.
        low, high: exponents of ten between which a searched rate lies.
        start: where a searched rate starts; the paper's 1e-3.
    """

    global_lr: float | Literal["searched"] = "searched"
    head: Literal["trained", "searched"] = "trained"
    low: float = -4.0
    high: float = 0.0
    start: float = 1e-3

    def space(self, units: Sequence[UnitLike]) -> Space:
        """One variable for each gene; bits first, in the order of the units."""
        variables: dict[str, Variable] = {
            unit.name: Categorical((0, 1)) for unit in units if self._is_gene(unit)
        }
        if self.global_lr == "searched":
            low, high = 10.0**self.low, 10.0**self.high
            variables[GLOBAL_LR] = Real(low, high, log=True, start=min(max(self.start, low), high))
        return Space(variables)

    def plan(self, sample: dict[str, Any], units: Sequence[UnitLike]) -> Plan:
        """Rates of the units: b·η (eq. 1)."""
        rate = float(sample.get(GLOBAL_LR, self.global_lr))
        return Plan(
            tuple(rate * int(sample[unit.name]) if self._is_gene(unit) else rate for unit in units)
        )

    def genome(self, sample: dict[str, Any]) -> list[float]:
        """The genes as numbers, in the space's order."""
        return [float(value) for value in sample.values()]

    def _is_gene(self, unit: UnitLike) -> bool:
        return self.head == "searched" or not unit.head


@dataclass(frozen=True)
class ContinuousGenome:
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
        """One gene for each unit, the head's among them."""
        return Space({unit.name: Real(0.0, 1.0, start=self.start) for unit in units})

    def plan(self, sample: dict[str, Any], units: Sequence[UnitLike]) -> Plan:
        """Rates of the units: the gene, or ten to the gene's place between the exponents."""
        rates = ((unit, self._rate(float(sample[unit.name]))) for unit in units)
        return Plan(tuple(max(lr, LEAST_HEAD_LR) if unit.head else lr for unit, lr in rates))

    def genome(self, sample: dict[str, Any]) -> list[float]:
        """The genes, in the order of the units."""
        return [float(value) for value in sample.values()]

    def _rate(self, gene: float) -> float:
        if self.scale == "linear":
            return gene
        return math.pow(10.0, self.low + gene * (self.high - self.low))


Genome = BinaryGenome | ContinuousGenome
