"""GivenPoints: an optimiser that begins with samples of its user, and draws the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from revo_ray.evolve.cmamv import CMAMV, Candidate
from revo_ray.evolve.space import Sample


class GivenPoints:
    """A `CMAMV` some of whose candidates are given samples, each in the place of a draw.

    The optimiser is told them as its own. Without given samples it proposes what it would alone.

    Args:
        optimiser: draws the other candidates.
        given: samples by the number of their evaluation, from 0 in the order of `ask`.

    Raises:
        ValueError: a sample has missing or unknown names, or a value outside its variable.
    """

    def __init__(self, optimiser: CMAMV, given: Mapping[int, Sample]) -> None:
        for sample in given.values():
            optimiser.space.validate(sample)
        self.population_size = optimiser.population_size
        self.given = dict(given)
        self._optimiser = optimiser
        self._asked = 0
        self._next = max(given, default=-1) + 1

    def add(self, sample: Sample) -> int:
        """Give one more sample, for the first evaluation that is neither sampled nor given.

        Returns:
            The number of that evaluation.

        Raises:
            ValueError: as above.
        """
        self._optimiser.space.validate(sample)
        number = max(self._asked, self._next)
        self.given[number] = sample
        self._next = number + 1
        return number

    def ask(self) -> Candidate:
        """Return the next given sample's candidate, or draw one from the current distribution."""
        sample = self.given.get(self._asked)
        self._asked += 1
        return self._optimiser.ask() if sample is None else self._optimiser.candidate(sample)

    def tell(self, solutions: Sequence[tuple[Candidate, float]]) -> None:
        """Learn from the finite values of one generation."""
        self._optimiser.tell(solutions)

    def distribution(self) -> dict[str, Any]:
        """Return the distribution of the next draws, for plots."""
        return self._optimiser.distribution()
