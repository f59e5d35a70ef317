"""Progress of a search or a study that runs in this process; listeners of their ledgers."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from rich.console import Console

from revo_ray.monitor.live import GpuMemory
from revo_ray.monitor.status import SearchStatus
from revo_ray.monitor.study_status import StudyStatus
from revo_ray.monitor.terminal import say
from revo_ray.monitor.view import Screen, View, outcome_text, search_view
from revo_ray.rundir import Evaluation, SearchResult

TICK_SECONDS = 0.5


class _Shown(ABC):
    """A view of what runs, with the busy workers and the memory of GPUs."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._screen: Screen | None = None
        self._gpu = GpuMemory()
        self._workers = ""
        self._ticked = float("-inf")

    def tick(self, busy: int, slots: int) -> None:
        """Show how many workers are busy, at most every `TICK_SECONDS`; called all the time."""
        now = time.monotonic()
        live = self._screen is not None and self._screen.live
        if live and now - self._ticked >= TICK_SECONDS:
            self._ticked, self._workers = now, f"{busy} of {slots} workers busy"
            self._show()

    def close(self) -> None:
        """Take the live lines off the terminal."""
        if self._screen is not None:
            self._screen.close()
        self._gpu.close()

    def _show(self, instead: str = "") -> None:
        """Draw the lines; `instead` stands for the time left."""
        view = self._view(instead)
        if self._screen is None:
            self._screen = Screen(self._console, view)
        self._screen.show(view)

    @abstractmethod
    def _view(self, instead: str) -> View: ...


class Progress(_Shown):
    """Shows the spent budget, the best plan so far and the time left; a listener of the ledger.

    Args:
        status: the status of a search without rows.
        console: the console to write to; None shows nothing.
    """

    def __init__(self, status: SearchStatus, console: Console | None) -> None:
        super().__init__(console)
        self._status = status

    def begin(self, rows: Iterable[Evaluation], headline: str) -> None:
        """Print the headline, and count the rows that a resumed search starts with."""
        status = self._status
        for row in _as_ended(rows):
            status.add(row)
        say(self._console, headline)
        if status.rows:
            spent = f"{status.done} {status.unit} done {status.time_text}"
            say(self._console, f"resumed with {spent}, {status.best_text}")
        self._show("starting workers")

    def __call__(self, row: Evaluation) -> None:
        """Count a new row and show it."""
        self._status.add(row)
        self._show()

    def _view(self, instead: str) -> View:
        shown = {"workers": self._workers, "memory": self._gpu(), "instead": instead}
        return search_view(self._status, time.time(), **shown)


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
        self._rows: list[tuple[str, Evaluation]] = []
        self._study = StudyStatus(name, searches, {})

    def follow(
        self, name: str, status: SearchStatus, rows: Iterable[Evaluation]
    ) -> Callable[[Evaluation], None]:
        """Make a listener for a search that is not finished; rows: those that it starts with."""
        self._statuses[name] = status
        self._rows += [(name, row) for row in rows]

        def listen(row: Evaluation) -> None:
            self._study.add(name, row)
            self._show()

        return listen

    def begin(self) -> None:
        """Print the headline."""
        study = self._study = StudyStatus(self._name, self._searches, self._statuses)
        for name, row in sorted(self._rows, key=lambda item: item[1].finished_at):
            study.add(name, row)
        before = f", {study.finished} finished before" if study.finished else ""
        before += f", {study.rows} evaluations of the others done" if study.rows else ""
        say(self._console, f"study {self._name}: {self._searches} searches{before}")
        self._show("starting workers")

    def finish(self, result: SearchResult) -> None:
        """Print the outcome of a search that `follow` was called for."""
        text = outcome_text(result, self._statuses[result.name].objective)
        say(self._console, f"{result.name}: {text}")
        self._study.finish(result.name)
        self._show()

    def _view(self, instead: str) -> View:
        shown = {"workers": self._workers, "memory": self._gpu(), "instead": instead}
        return self._study.view(time.time(), **shown)


def _as_ended(rows: Iterable[Evaluation]) -> list[Evaluation]:
    return sorted(rows, key=lambda row: row.finished_at)
