"""Tracker: the base class of all trackers, those of other packages too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from revo_ray.monitor.trackers.tracked import (
    Held,
    TrackedEvaluation,
    TrackedOutcome,
    TrackedSearch,
)


class Tracker(ABC):
    """Keeps one search in a tracking service. All calls come from one thread, never a worker.

    `begin` comes first, then `add` for each evaluation that the tracker does not hold, in the order
    in which they end, then perhaps `end`, then `close`. Any of them may raise, which ends no
    search: the tracker is closed, another one is made later, and its `begin` says what is left to
    send. So a call that is made again must double nothing.

    Args:
        search: the search.
        warn: shows a line to the user; only the first of a command is shown.
    """

    package: ClassVar[str]
    """Name under which the service's package is imported. It is imported in `begin`, no earlier."""

    def __init__(self, search: TrackedSearch, warn: Callable[[str], None]) -> None:
        self.search = search
        self.warn = warn

    @abstractmethod
    def begin(self) -> Held:
        """Connect, open the run of the search or make it, and say which parts it has."""

    @abstractmethod
    def add(self, evaluation: TrackedEvaluation) -> None:
        """Send an evaluation. One of the same number and another digest replaces what is there."""

    @abstractmethod
    def end(self, outcome: TrackedOutcome) -> None:
        """Send the outcome of the search."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the service. Without `end` before, the search was stopped."""
