"""BioTune: a gene for each unit and one threshold below which a unit is frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from revo_ray.methods import (
    ByOptimizer,
    Method,
    Plan,
    Proposals,
    Real,
    Sample,
    SearchOptions,
    Section,
    Space,
    UnitLike,
)

THRESHOLD = "threshold"
DECADES = 2.0
"""Decades between the rates of genes 0 and 1; a gene of 0.5 has the base rate."""


@dataclass(frozen=True)
class Individual:
    """A proposed sample, and its place in the unit cube."""

    sample: Sample
    genes: NDArray[np.float64]


class Breeding:
    """A real-coded genetic algorithm with elites; values are minimised.

    The first generation is drawn uniformly. A later child is a uniform crossover of two elites, and
    each of its genes moves with a probability by a normal deviate, reflected at 0 and 1; at least
    one moves, since a copy of a parent would learn nothing new. The elites are the best of all that
    were told, of equals the earlier ones.

    Args:
        space: variables that have places from 0 to 1.
        population_size: number of values in each `tell`.
        elites: number of parents.
        mutation: probability that a gene moves; None for one gene in a child on average.
        sigma: standard deviation of a move.
        seed: seed of all draws.
    """

    def __init__(
        self,
        space: Space,
        *,
        population_size: int,
        elites: int,
        mutation: float | None,
        sigma: float,
        seed: int,
    ) -> None:
        self.population_size = population_size
        self._space, self._count, self._sigma = space, elites, sigma
        self._variables: dict[str, Real] = {}
        for name, variable in space.items():
            assert isinstance(variable, Real)
            self._variables[name] = variable
        self._mutation = 1 / len(space) if mutation is None else mutation
        self._rng = np.random.default_rng(seed)
        self._elites: list[tuple[Individual, float]] = []

    def ask(self) -> Individual:
        """The next child; in the first generation, a random individual."""
        genes = self._breed() if self._elites else self._rng.random(len(self._space))
        places = zip(self._variables.items(), genes.tolist(), strict=True)
        return Individual({name: each.from_unit(gene) for (name, each), gene in places}, genes)

    def tell(self, solutions: Sequence[tuple[Individual, float]]) -> None:
        """Choose the next elites; lower is better."""
        pool = [*self._elites, *solutions]
        self._elites = sorted(pool, key=lambda each: each[1])[: self._count]

    def _breed(self) -> NDArray[np.float64]:
        chosen = self._rng.permutation(len(self._elites))[:2]
        first, second = (self._elites[i][0].genes for i in (chosen[0], chosen[-1]))
        child = np.where(self._rng.random(len(first)) < 0.5, first, second)
        moves = self._rng.random(len(child)) < self._mutation
        moves[self._rng.integers(len(child))] |= not moves.any()
        child = child + moves * self._rng.normal(0.0, self._sigma, len(child))
        child = np.abs(child) % 2  # reflected at both ends
        return np.where(child > 1, 2 - child, child)


class BioTune(Method):
    """An evolved importance for each unit, and a threshold that freezes (Davila et al. 2025).

    A unit whose gene lies below the threshold is frozen. The others learn at
    lr·10^(2·(gene − 0.5)). The new head always trains. `model.granularity: block` gives the blocks
    of the paper (arXiv 2508.15367), which evolves 10 generations of 10 with 3 elites. It averages
    several seeds in each evaluation; here an evaluation has one. The paper's text leaves crossover
    and mutation open; those of this class are ours.
    """

    name = "biotune"

    class Options(Section):
        lr: Annotated[float, Field(gt=0), ByOptimizer(sgd=0.01, adamw=0.001)] = Field(
            None, validate_default=True
        )
        """Base rate, at which a unit with a gene of 0.5 learns."""
        elites: int = Field(3, ge=1, le=100)
        """Parents: the best of all individuals so far."""
        mutation: float | None = Field(None, gt=0, le=1)
        """Probability that a gene moves; None: one in a genome on average."""
        sigma: float = Field(0.2, gt=0, le=1)
        """Standard deviation of a move, of a gene from 0 to 1."""

    def space(self, units: Sequence[UnitLike]) -> Space:
        """A gene for each unit, and the threshold."""
        genes = {unit.name: Real(0.0, 1.0) for unit in units}
        return Space({**genes, THRESHOLD: Real(0.0, 1.0)})

    def plan(self, sample: Sample, units: Sequence[UnitLike]) -> Plan:
        """Rates around the base rate; 0 below the threshold."""
        threshold, rates = float(sample[THRESHOLD]), []
        for unit in units:
            gene = float(sample[unit.name])
            trains = unit.head or gene >= threshold
            rates.append(self.options.lr * 10 ** (DECADES * (gene - 0.5)) if trains else 0.0)
        return Plan(tuple(rates))

    def searcher(self, space: Space, search: SearchOptions) -> Proposals[Any]:
        """The genetic algorithm, with generations of the configured population."""
        breeding = Breeding(
            space,
            population_size=search.population,
            seed=search.seed,
            **self.options.model_dump(exclude={"lr"}),
        )
        return Proposals(
            breeding, space, budget=search.evaluations, lookahead=search.lookahead, reuse=True
        )
