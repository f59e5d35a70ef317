"""A genetic algorithm over discrete variables, by ask and tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from revo_ray.methods import Categorical, Integer, Sample, Space

ATTEMPTS = 20
"""Children bred in search of a new one; the last is proposed even if it was proposed before."""

Genes = tuple[int, ...]


@dataclass(frozen=True)
class Individual:
    """A proposed sample, with the index of each value among its variable's values."""

    sample: Sample
    genes: Genes


class Genetic:
    """Breed samples of a space from the best so far; values are minimised.

    The first generation is drawn uniformly. Each later individual is the child of one parent, or a
    uniform crossover of two, with mutated genes. A child that was proposed before gives way to
    another, since its value is known. The samples are a function of the space, the settings and
    the told values.

    Args:
        space: Integer and Categorical variables, at least one of more than one value.
        population_size: number of values in each `tell`.
        parents: parents, as a fraction of the population (truncation selection).
        crossover: probability that a child has two parents.
        mutation: probability that a gene takes another of its values, all equally probable; None
            for one gene in a child on average.
        elitism: fraction of the parents that stay parents until better ones come.
        seed: seed of all draws.

    Raises:
        ValueError: a Real variable, or no variable with more than one value.
    """

    def __init__(
        self,
        space: Space,
        *,
        population_size: int,
        parents: float,
        crossover: float,
        mutation: float | None,
        elitism: float,
        seed: int,
    ) -> None:
        if not space.searched:
            raise ValueError(f"none of the variables {list(space)} has more than one value")
        self.population_size = population_size
        self._variables: dict[str, Integer | Categorical] = {}
        for name, variable in space.items():
            if not isinstance(variable, Integer | Categorical):
                raise ValueError(f"{name!r}: {variable} is not discrete")
            self._variables[name] = variable
        self._sizes = np.array([variable.size for variable in self._variables.values()])
        self._count = max(1, round(parents * population_size))
        self._elites = round(elitism * self._count)
        self._crossover = crossover
        self._mutation = 1 / len(space.searched) if mutation is None else mutation
        self._rng = np.random.default_rng(seed)
        self._parents: list[tuple[Genes, float]] = []  # best first
        self._proposed: set[Genes] = set()

    def ask(self) -> Individual:
        """The next child; in the first generation, a random individual."""
        for _ in range(ATTEMPTS):
            genes = self._breed() if self._parents else self._draw()
            if genes not in self._proposed:
                break
        self._proposed.add(genes)
        values = zip(self._variables.items(), genes, strict=True)
        return Individual({name: variable.at(gene) for (name, variable), gene in values}, genes)

    def tell(self, solutions: Sequence[tuple[Individual, float]]) -> None:
        """Choose the next parents by the values of a generation; lower is better.

        Equal values rank in the order of proposal.
        """
        pool = dict(self._parents[: self._elites])
        for individual, value in solutions:
            pool.setdefault(individual.genes, value)
        self._parents = sorted(pool.items(), key=lambda item: item[1])[: self._count]

    def _draw(self) -> Genes:
        return _genes(self._rng.integers(self._sizes))

    def _breed(self) -> Genes:
        chosen = self._rng.permutation(len(self._parents))[:2]
        first, second = (np.array(self._parents[i][0]) for i in (chosen[0], chosen[-1]))
        two = self._rng.random() < self._crossover
        child = np.where(two & (self._rng.random(first.size) < 0.5), second, first)
        steps = self._rng.integers(1, np.maximum(self._sizes, 2))  # never a whole turn
        mutates = self._rng.random(first.size) < self._mutation
        return _genes(np.where(mutates, (child + steps) % self._sizes, child))


def _genes(values: np.ndarray) -> Genes:
    return tuple(int(value) for value in values)
