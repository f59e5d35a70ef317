"""Protocols of an optimiser: anything with ask and tell can propose. It minimises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from revo_ray.evolve.space import Sample


class CandidateLike(Protocol):
    """A proposed sample, which `tell` takes back with its value."""

    @property
    def sample(self) -> Sample:
        """Variable names to plain values."""


C = TypeVar("C", bound=CandidateLike)


class Optimiser(Protocol[C]):
    """An optimiser that minimises the values it is told."""

    @property
    def population_size(self) -> int | None:
        """Evaluations in a generation; None for an optimiser that is told one by one."""

    def ask(self) -> C:
        """Sample one candidate from the current distribution."""

    def tell(self, solutions: list[tuple[C, float]]) -> None:
        """Learn from exactly `population_size` finite values; from one value if that is None."""


@runtime_checkable
class Adopting(Protocol):
    """An optimiser without generations that takes recorded samples.

    It is for optimisers whose proposals depend on the order of the outcomes.
    """

    def adopt(self, sample: Sample) -> Any:
        """Take a recorded sample for the next one, as if `ask` had given it."""


@runtime_checkable
class Opening(Protocol):
    """An optimiser whose first generation is given. No other is sampled before that one ended."""

    def begin(self, best: Sample | None) -> None:
        """Take the best sample of the first generation; None if all of them failed."""


@runtime_checkable
class Distributed(Protocol):
    """An optimiser that can describe its distribution."""

    def distribution(self) -> Mapping[str, Any]:
        """Distribution of the next samples, for plots; empty if they were not drawn from one."""
