"""Progress of a running search or study: live lines on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from rich.console import Console

from revo_ray.monitor.live import GpuMemory, LiveLines
from revo_ray.monitor.status import Pace, SearchStatus
from revo_ray.monitor.terminal import say
from revo_ray.objective import LOSS, METRICS, Metric
from revo_ray.rundir import Evaluation, SearchResult
from revo_ray.words import duration

TICK_SECONDS = 0.5
LINES = 20
"""Number of lines in a log for a whole budget, besides those of better results."""


class _Shown(ABC):
    """Live lines, with the busy workers and the memory of GPUs."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._live = LiveLines(None, 0)
        self._gpu = GpuMemory()
        self._workers = ""
        self._ticked = float("-inf")

    def tick(self, busy: int, slots: int) -> None:
        """Show how many workers are busy, at most every `TICK_SECONDS`; called all the time."""
        now = time.monotonic()
        if self._live.shown and now - self._ticked >= TICK_SECONDS:
            self._ticked, self._workers = now, f"{busy} of {slots} workers busy"
            self._show()

    def close(self) -> None:
        """Take the live lines off the terminal."""
        self._live.close()
        self._gpu.close()

    @abstractmethod
    def _show(self, instead: str = "") -> None:
        """Draw the lines; `instead` stands for the time left."""


class Progress(_Shown):
    """Shows the spent budget, the best plan so far and the time left; a listener of the ledger.

    Args:
        status: the status of a search without rows.
        console: the console to write to; None shows nothing.
    """

    def __init__(self, status: SearchStatus, console: Console | None) -> None:
        super().__init__(console)
        self._status = status
        self._said = 0

    def begin(self, rows: Iterable[Evaluation], headline: str) -> None:
        """Print the headline, and count the rows that a resumed search starts with."""
        status = self._status
        for row in rows:
            status.add(row)
        self._said = status.done
        say(self._console, headline)
        if status.rows:
            spent = f"{status.done} {status.unit} done"
            say(self._console, f"resumed with {spent}, {status.best_text}")
        self._live = LiveLines(self._console, status.total)
        self._show("starting workers")

    def __call__(self, row: Evaluation) -> None:
        """Count a new row and show it."""
        status = self._status
        improved = status.add(row, time.monotonic())
        if self._live.shown:
            self._show()
        elif improved or status.done - self._said >= max(1, status.total // LINES):
            self._said = status.done
            say(self._console, plain_line(status))

    def _show(self, instead: str = "") -> None:
        status = self._status
        first = [status.amount_text, status.generation_text, self._workers]
        first.append(instead or status.left_text(time.monotonic()))
        more = status.best_text, joined(status.counts_text, self._gpu())
        self._live.update(status.done, joined(*first), more)


class StudyProgress(_Shown):
    """Shows the progress of a study's searches; `follow` makes a listener for each ledger.

    Args:
        name: the study's name.
        searches: number of its searches.
        console: the console to write to; None shows nothing.
    """

    def __init__(self, name: str, searches: int, console: Console | None) -> None:
        super().__init__(console)
        self._name, self._searches = name, searches
        self._statuses: dict[str, SearchStatus] = {}
        self._finished = 0
        self._said = 0.0
        self._pace = Pace(40)
        self._last = ""

    def follow(
        self, name: str, status: SearchStatus, rows: Iterable[Evaluation]
    ) -> Callable[[Evaluation], None]:
        """Make a listener for a search that is not finished; rows: those that it starts with."""
        for row in rows:
            status.add(row)
        self._statuses[name] = status

        def listen(row: Evaluation) -> None:
            before = status.done
            status.add(row)
            self._pace.add(time.monotonic(), (status.done - before) / status.total)
            self._last = name
            self._note()

        return listen

    def begin(self) -> None:
        """Print the headline."""
        self._finished = self._searches - len(self._statuses)
        rows = sum(status.rows for status in self._statuses.values())
        before = f", {self._finished} finished before" if self._finished else ""
        before += f", {rows} evaluations of the others done" if rows else ""
        say(self._console, f"study {self._name}: {self._searches} searches{before}")
        self._said = self._done
        self._live = LiveLines(self._console, self._searches)
        self._show("starting workers")

    def finish(self, result: SearchResult) -> None:
        """Print the outcome of a search that `follow` was called for."""
        self._finished += 1
        text = outcome_text(result, self._statuses[result.name].objective)
        say(self._console, f"{result.name}: {text}")
        self._show()

    @property
    def _done(self) -> float:
        """The spent budgets of the open searches, in whole searches."""
        return sum(s.done / s.total for s in self._statuses.values())

    def _note(self) -> None:
        if self._live.shown:
            self._show()
        elif self._done - self._said >= len(self._statuses) / LINES - 1e-9:
            self._said = self._done
            text = study_text(self._finished, self._searches, self._statuses.values())
            say(self._console, f"{text}, {self._left_text()}")

    def _show(self, instead: str = "") -> None:
        text = study_text(self._finished, self._searches, self._statuses.values())
        first = joined(text, self._workers, instead or self._left_text())
        last = self._statuses.get(self._last)
        now = f"{self._last}: {last.amount_text}, {last.best_text}" if last else ""
        done = self._searches - len(self._statuses) + self._done
        self._live.update(done, first, (now, self._gpu()))

    def _left_text(self) -> str:
        return study_left_text(self._pace, self._statuses.values(), time.monotonic())


def plain_line(status: SearchStatus, now: float | None = None) -> str:
    """The status of a search in one line of a log."""
    parts = (status.amount_text, status.best_text, status.counts_text, status.left_text(now))
    return ", ".join(part for part in parts if part)


def study_text(finished: int, searches: int, open_ones: Iterable[SearchStatus]) -> str:
    """Number of finished searches of a study, and of the rows of those that were open."""
    rows = sum(status.rows for status in open_ones)
    text = f"{finished} of {searches} searches finished"
    return f"{text}, {rows} evaluations" if rows else text


def study_left_text(pace: Pace, open_ones: Iterable[SearchStatus], now: float | None) -> str:
    """The time left for a study's open searches.

    Args:
        pace: the pace, in budgets of whole searches.
        open_ones: the open searches.
        now: the time, by the clock of the pace; None for the time of the last row.
    """
    left = sum(status.left / status.total for status in open_ones)
    seconds = pace.seconds_left(left, now)
    if not left:
        return "testing the last models"
    return "time left not known yet" if seconds is None else f"{duration(seconds)} left"


def outcome_text(result: SearchResult, objective: Metric) -> str:
    """The outcome of a search in one line, by its objective; by accuracy beside a loss."""
    best, test = result.validation_scores, result.test_scores
    found = "no evaluation succeeded" if best is None else f"validation {objective.text(best)}"
    metric = METRICS["accuracy"] if objective is LOSS else objective
    tested = ""
    if test is not None and metric.value(test) is not None:
        tested = f", test {metric.text(test)}"
    return f"{found}{tested} ({result.evaluations} evaluations)"


def joined(*parts: str) -> str:
    """Join the parts that are not empty to one line of a terminal."""
    return " · ".join(part for part in parts if part)
