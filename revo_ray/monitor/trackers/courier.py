"""A courier: takes the rows of all searches to one tracking service, in a thread of its own.

A service that is slow, unreachable or broken costs the search nothing. The rows wait in the ledger
anyway, so a courier that failed begins anew and sends what the service does not hold.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from revo_ray.credentials import without_secrets
from revo_ray.errors import first_line, printable
from revo_ray.monitor.trackers.tracked import TrackedEvaluation, TrackedOutcome, TrackedSearch
from revo_ray.monitor.trackers.tracker import Tracker
from revo_ray.rundir import Evaluation
from revo_ray.words import cut

RETRY_SECONDS = 10.0
"""Least time between a failure and the next try."""
AGAIN_SECONDS = 0.5
"""Time before the second try of a call that failed, which no warning tells of."""


class _Feed:
    """One search on its way to a tracker."""

    def __init__(
        self, search: TrackedSearch, kind: type[Tracker], warn: Callable[[str], None]
    ) -> None:
        self.search = search
        self.rows: list[Evaluation] = []
        self.outcome: TrackedOutcome | None = None
        self.closing = False
        self.held_outcome: str | None = None
        self._kind, self._warn = kind, warn
        self._tracker: Tracker | None = None
        self._held: dict[int, str] = {}
        self._position = 0
        self._best: Evaluation | None = None

    def deliver(self, beat: Callable[[], bool]) -> None:
        """Send all that the tracker does not hold; `beat` is called between, False stops it."""
        if self._tracker is None and not self.closing:
            tracker = self._kind(self.search, self._warn)
            self._tracker = tracker
            held = tracker.begin()
            self._held, self.held_outcome = dict(held.evaluations), held.outcome
            self._position, self._best = 0, None
        if self._tracker is None:
            return
        while beat() and self._position < len(self.rows):
            self._send(self._tracker, self.rows[self._position])
            self._position += 1
        if beat() and self.outcome is not None and self.held_outcome != self.outcome.digest:
            self._tracker.end(self.outcome)
            self.held_outcome = self.outcome.digest
        if self.closing:
            tracker, self._tracker = self._tracker, None
            tracker.close()

    def _send(self, tracker: Tracker, row: Evaluation) -> None:
        if self.search.objective.is_better(row, self._best):
            self._best = row
        made = TrackedEvaluation.of(row, self.search.units, self._position + 1, self._best)
        if self._held.get(made.number) != made.digest:
            tracker.add(made)
            self._held[made.number] = made.digest

    def drop(self) -> None:
        """Give the tracker up after a failure; the next delivery makes another."""
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            try:
                tracker.close()
            except BaseException:  # it failed already, and that was told
                pass

    @property
    def delivered(self) -> bool:
        """Whether the tracker holds all rows."""
        return self._tracker is not None and self._position == len(self.rows)


class Courier:
    """Delivers to one tracker; see the module.

    Args:
        name, kind: of the tracker.
        warn: shows a line. It is called once at most.
    """

    def __init__(self, name: str, kind: type[Tracker], warn: Callable[[str], None]) -> None:
        self.name = name
        self.beat = time.monotonic()
        """Time of the last sign of life."""
        self._kind = kind
        self._show: Callable[[str], None] | None = warn
        self._feeds: dict[str, _Feed] = {}
        self._jobs: queue.SimpleQueue[tuple[_Feed, bool]] = queue.SimpleQueue()
        self._asked = self._done = 0
        self._changed = threading.Condition()
        self._retry_at = 0.0
        self._down = self._hurry = False
        # Nothing waits for a daemon: a service that hangs does not keep the process alive.
        self._thread = threading.Thread(target=self._work, name=f"tracker-{name}", daemon=True)

    def follow(self, search: TrackedSearch, rows: list[Evaluation]) -> None:
        """Begin to deliver a search; rows: those that it has."""
        feed = self._feeds[search.name] = _Feed(search, self._kind, self.warn)
        feed.rows.extend(rows)
        self._ask(feed)
        if not self._thread.is_alive():
            self._thread.start()

    def add(self, name: str, row: Evaluation) -> None:
        """Deliver a new row of a search."""
        self._feeds[name].rows.append(row)
        self._ask(self._feeds[name])

    def catch_up(self) -> None:
        """Deliver what failed before; `busy` says when it is done."""
        for feed in self._feeds.values():
            self._ask(feed, at_once=True)

    def wants_outcome(self, name: str, digest: str) -> bool:
        """Whether the tracker can be reached and does not hold this outcome."""
        feed = self._feeds.get(name)
        return feed is not None and feed.delivered and feed.held_outcome != digest

    def end(self, name: str, outcome: TrackedOutcome) -> None:
        """Deliver the outcome of a search."""
        self._feeds[name].outcome = outcome
        self._ask(self._feeds[name], at_once=True)

    def close(self, *, hurry: bool) -> None:
        """Let go of the tracker when all is delivered, or before that in a hurry."""
        self._hurry = hurry
        for feed in self._feeds.values():
            feed.closing = True
            self._ask(feed, at_once=True)

    @property
    def busy(self) -> bool:
        """Whether a delivery is not done."""
        return self._done < self._asked

    def wait(self, seconds: float) -> None:
        """Wait until a delivery is done, but no longer than this."""
        with self._changed:
            if self.busy:
                self._changed.wait(seconds)

    def warn(self, text: str) -> None:
        """Show a line, if it is the first one."""
        show, self._show = self._show, None
        if show is not None:
            try:
                show(f"trackers: {self.name} {printable(without_secrets(text))}")
            except Exception:  # a closed terminal, or warnings that are errors
                pass

    def _ask(self, feed: _Feed, at_once: bool = False) -> None:
        self._asked += 1
        self._jobs.put((feed, at_once))

    def _work(self) -> None:
        while True:
            feed, at_once = self._jobs.get()
            if at_once or time.monotonic() >= self._retry_at:
                self._deliver(feed)
            with self._changed:
                self._done += 1
                self._changed.notify_all()
            self._beat()

    def _deliver(self, feed: _Feed) -> None:
        try:
            try:
                feed.deliver(self._beat)
            except BaseException:
                feed.drop()
                if self._down or self._hurry or feed.closing:
                    raise
                time.sleep(AGAIN_SECONDS)
                feed.deliver(self._beat)
            self._down = False
        except BaseException as error:  # whatever it is, the search goes on
            feed.drop()
            self._down = True
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self.warn(
                f"does not take the search ({cut(first_line(error), 200)}); the search goes on, "
                "and what is missed is sent when it does, at the latest with --resume"
            )

    def _beat(self) -> bool:
        self.beat = time.monotonic()
        return not self._hurry
