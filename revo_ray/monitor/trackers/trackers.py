"""Trackers: hands the searches of a command to all trackers that the configuration names."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable

from revo_ray.monitor.trackers.courier import Courier
from revo_ray.monitor.trackers.tracked import TrackedOutcome, TrackedSearch, digest
from revo_ray.monitor.trackers.tracker import Tracker
from revo_ray.rundir import Evaluation

PATIENCE_SECONDS = 120.0
"""Longest time at the end of a search in which a tracker takes no evaluation."""
UPLOAD_SECONDS = 1800.0
"""Longest time that a tracker may take for the outcome of a search."""
TICK_SECONDS = 0.1
"""Time between two looks at whether the waiting is stopped."""
STOP_SECONDS = 2.0
"""Longest wait for the trackers of a search that was stopped."""


class Trackers:
    """Hands searches to trackers, each of which has a thread of its own.

    Args:
        kinds: classes of the trackers by name.
        say: shows a line; None: warnings are Python's.
        check: called while it waits; may raise, to stop the waiting.
    """

    def __init__(
        self,
        kinds: dict[str, type[Tracker]],
        say: Callable[[str], None] | None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        show = say or (lambda text: warnings.warn(text, stacklevel=2))
        self._couriers = [Courier(name, kind, show) for name, kind in kinds.items()]
        self._check = check
        self._closed = False

    def __bool__(self) -> bool:
        return bool(self._couriers)

    def follow(
        self, search: TrackedSearch, rows: Iterable[Evaluation]
    ) -> Callable[[Evaluation], None]:
        """Begin with a search; rows: those that it has. Call the result with each new row."""
        found = list(rows)
        for courier in self._couriers:
            courier.follow(search, found)

        def listen(row: Evaluation) -> None:
            for courier in self._couriers:
                courier.add(search.name, row)

        return listen

    def catch_up(self) -> None:
        """Wait until the trackers hold all rows, or cannot be reached."""
        for courier in self._couriers:
            courier.catch_up()
        self._wait(PATIENCE_SECONDS)

    def want_outcome(self, name: str, result: dict[str, object]) -> bool:
        """Whether a tracker can be reached that has not got this result of a search."""
        found = digest(result)
        return any(courier.wants_outcome(name, found) for courier in self._couriers)

    def end(self, name: str, outcome: TrackedOutcome) -> None:
        """Hand the outcome of a search over."""
        for courier in self._couriers:
            if courier.wants_outcome(name, outcome.digest):
                courier.end(name, outcome)

    def finish(self) -> None:
        """Wait until everything is handed over, and let go of the trackers."""
        self._wait(UPLOAD_SECONDS)
        self._closed = True
        for courier in self._couriers:
            courier.close(hurry=False)
        self._wait(PATIENCE_SECONDS)

    def close(self) -> None:
        """Let go of the trackers at once, if the search did not come to `finish`."""
        if self._closed:
            return
        self._closed = True
        for courier in self._couriers:
            courier.close(hurry=True)
        self._check = lambda: None
        deadline = time.monotonic() + STOP_SECONDS
        for courier in self._couriers:
            while courier.busy and time.monotonic() < deadline:
                courier.wait(TICK_SECONDS)

    def _wait(self, patience: float) -> None:
        waiting = list(self._couriers)
        began = time.monotonic()
        while waiting := [courier for courier in waiting if courier.busy]:
            self._check()
            waiting[0].wait(TICK_SECONDS)
            for courier in list(waiting):
                if time.monotonic() - max(began, courier.beat) > patience:
                    waiting.remove(courier)
                    courier.warn("does not answer; --resume sends what is missing")
