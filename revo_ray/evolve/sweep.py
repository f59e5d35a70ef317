"""Sweep: a first generation of given samples, whose best is where an optimiser begins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from revo_ray.evolve.cmamv import CMAMV, Candidate
from revo_ray.evolve.space import Sample


class Sweep:
    """An optimiser that proposes given samples first, and then learns from the best of them.

    The samples of the sweep are not told to the optimiser behind it.

    Args:
        samples: the first generation.
        make: the optimiser that begins at a sample, with generations of as many samples; at the
            space's own start for None.

    Raises:
        ValueError: by `make`.
    """

    def __init__(self, samples: Sequence[Sample], make: Callable[[Sample | None], CMAMV]) -> None:
        self.population_size = len(samples)
        self._left = deque(samples)
        self._make = make
        self._optimiser = make(None)
        self._begun = False

    def ask(self) -> Candidate:
        """The next sample of the sweep; after `begin`, of the optimiser."""
        if self._left:
            return Candidate(dict(self._left.popleft()), None)
        return self._optimiser.ask()

    def begin(self, best: Sample | None) -> None:
        """End the sweep. The optimiser begins at its best sample; None if all of them failed."""
        self._begun = True
        if best is not None:
            self._optimiser = self._make(best)

    def tell(self, solutions: list[tuple[Candidate, float]]) -> None:
        """Tell the optimiser a later generation."""
        self._optimiser.tell(solutions)

    def distribution(self) -> Mapping[str, Any]:
        """The optimiser's distribution; empty for the sweep, which has none."""
        return self._optimiser.distribution() if self._begun else {}


def middle_first(count: int) -> list[float]:
    """Evenly spaced places in (0, 1), each the middle of its part, in the order of halving.

    However early a sweep in this order ends, it has seen all of the range about equally well.

    Example:
        >>> [round(place, 3) for place in middle_first(5)]
        [0.5, 0.3, 0.9, 0.1, 0.7]
    """
    places: list[float] = []
    parts = deque([(0, count)])
    while parts:
        first, end = parts.popleft()
        if first < end:
            middle = (first + end) // 2
            places.append((middle + 0.5) / count)
            parts += [(first, middle), (middle + 1, end)]
    return places
