"""Where a running search or study stands: live lines on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rich.console import Console

from revo_ray.monitor.live import GpuMemory, LiveLines
from revo_ray.monitor.status import Pace, Standing, duration
from revo_ray.rundir.ledger import Evaluation

if TYPE_CHECKING:
    from revo_ray.rundir.outcome import SearchResult

TICK_SECONDS = 0.5
LINES = 20
"""In a log, of a whole budget, besides those of better results."""


class Progress:
    """Shows what is spent, the best plan so far and the time left; a listener of the ledger.

    Args:
        standing: of the search, without its rows.
        console: where to write; None shows nothing.
    """

    def __init__(self, standing: Standing, console: Console | None) -> None:
        self._standing = standing
        self._console = console
        self._said = 0
        self._shown = _Workers()
        self._live = LiveLines(None, 0)

    def begin(self, rows: Iterable[Evaluation], headline: str) -> None:
        """Say what is searched, and count the rows that a resumed search starts with."""
        standing = self._standing
        for row in rows:
            standing.add(row)
        self._said = standing.done
        say(self._console, headline)
        if standing.rows:
            say(
                self._console,
                f"resumed with {standing.done} {standing.unit} done, {standing.best_text}",
            )
        self._live = LiveLines(self._console, standing.total)
        self._show("starting workers")

    def __call__(self, row: Evaluation) -> None:
        """Take note of a new row."""
        standing = self._standing
        improved = standing.add(row, time.monotonic())
        if self._live.shown:
            self._show()
        elif improved or standing.done - self._said >= max(1, standing.total // LINES):
            self._said = standing.done
            say(self._console, plain_line(standing))

    def tick(self, busy: int, slots: int) -> None:
        """Say how many workers of how many have something to do; called all the time."""
        if self._live.shown and self._shown.update(busy, slots):
            self._show()

    def close(self) -> None:
        """Take the live lines off the terminal."""
        self._live.close()
        self._shown.close()

    def _show(self, instead: str = "") -> None:
        standing = self._standing
        first = [standing.amount_text, standing.generation_text, self._shown.text]
        first.append(instead or standing.left_text(time.monotonic()))
        more = standing.best_text, joined(standing.counts_text, self._shown.gpu())
        self._live.update(standing.done, joined(*first), more)


class StudyProgress:
    """Shows how far the searches of a study are; a listener of every ledger, by `follow`.

    Args:
        name: of the study.
        searches: how many there are.
        console: where to write; None shows nothing.
    """

    def __init__(self, name: str, searches: int, console: Console | None) -> None:
        self._name, self._searches, self._console = name, searches, console
        self._standings: dict[str, Standing] = {}
        self._finished = 0
        self._said = 0.0
        self._pace = Pace(40)
        self._shown = _Workers()
        self._last = ""
        self._live = LiveLines(None, 0)

    def follow(
        self, name: str, standing: Standing, rows: Iterable[Evaluation]
    ) -> Callable[[Evaluation], None]:
        """Take a search that is not finished, with the rows that it starts with; its listener."""
        for row in rows:
            standing.add(row)
        self._standings[name] = standing

        def listen(row: Evaluation) -> None:
            before = standing.done
            standing.add(row)
            self._pace.add(time.monotonic(), (standing.done - before) / standing.total)
            self._last = name
            self._note()

        return listen

    def begin(self) -> None:
        """Say what is studied."""
        self._finished = self._searches - len(self._standings)
        rows = sum(standing.rows for standing in self._standings.values())
        before = f", {self._finished} finished before" if self._finished else ""
        before += f", {rows} evaluations of the others done" if rows else ""
        say(self._console, f"study {self._name}: {self._searches} searches{before}")
        self._said = self._done
        self._live = LiveLines(self._console, self._searches)
        self._show("starting workers")

    def finish(self, result: SearchResult) -> None:
        """Say what a search ended with."""
        self._finished += 1
        say(self._console, f"{result.name}: {outcome_text(result)}")
        self._show()

    def tick(self, busy: int, slots: int) -> None:
        """Say how many workers of how many have something to do; called all the time."""
        if self._live.shown and self._shown.update(busy, slots):
            self._show()

    def close(self) -> None:
        """Take the live lines off the terminal."""
        self._live.close()
        self._shown.close()

    @property
    def _done(self) -> float:
        """The searches' budgets that are spent, in searches."""
        return sum(s.done / s.total for s in self._standings.values())

    def _note(self) -> None:
        if self._live.shown:
            self._show()
        elif self._done - self._said >= len(self._standings) / LINES - 1e-9:
            self._said = self._done
            text = study_text(self._finished, self._searches, self._standings.values())
            say(self._console, f"{text}, {self._left_text()}")

    def _show(self, instead: str = "") -> None:
        text = study_text(self._finished, self._searches, self._standings.values())
        first = joined(text, self._shown.text, instead or self._left_text())
        last = self._standings.get(self._last)
        now = f"{self._last}: {last.amount_text}, {last.best_text}" if last else ""
        done = self._searches - len(self._standings) + self._done
        self._live.update(done, first, (now, self._shown.gpu()))

    def _left_text(self) -> str:
        return study_left_text(self._pace, self._standings.values(), time.monotonic())


class _Workers:
    """What is known of the machines, looked at now and then."""

    def __init__(self) -> None:
        self.text = ""
        self.gpu = GpuMemory()
        self._at = float("-inf")

    def update(self, busy: int, slots: int) -> bool:
        """Whether it is time to show it."""
        now = time.monotonic()
        if now - self._at < TICK_SECONDS:
            return False
        self._at, self.text = now, f"{busy} of {slots} workers busy"
        return True

    def close(self) -> None:
        self.gpu.close()


def plain_line(standing: Standing) -> str:
    """A search in one line of a log."""
    parts = (
        standing.amount_text,
        standing.best_text,
        standing.counts_text,
        standing.left_text(),
    )
    return ", ".join(part for part in parts if part)


def study_text(finished: int, searches: int, open_ones: Iterable[Standing]) -> str:
    """The searches of a study that are finished, and the rows of those that were open."""
    rows = sum(standing.rows for standing in open_ones)
    text = f"{finished} of {searches} searches finished"
    return f"{text}, {rows} evaluations" if rows else text


def study_left_text(pace: Pace, open_ones: Iterable[Standing], now: float | None) -> str:
    """How long a study's open searches will take.

    Args:
        pace: in budgets of whole searches.
        open_ones: the searches.
        now: by the clock of the pace.
    """
    left = sum(standing.left / standing.total for standing in open_ones)
    seconds = pace.seconds_left(left, now)
    if not left:
        return "testing the last models"
    return "time left not known yet" if seconds is None else f"{duration(seconds)} left"


def outcome_text(result: SearchResult) -> str:
    """What a search ended with, in one line."""
    loss = result.best["val_loss"] if result.best else None
    accuracy = result.test["accuracy"] if result.test else None
    found = "no evaluation succeeded" if loss is None else f"validation loss {loss:.4f}"
    tested = f", test accuracy {accuracy:.3f}" if accuracy is not None else ""
    return f"{found}{tested} ({result.evaluations} evaluations)"


def joined(*parts: str) -> str:
    """What there is to say, on one line of a terminal."""
    return " · ".join(part for part in parts if part)


def say(console: Console | None, text: str) -> None:
    """Print a line as it is."""
    if console is not None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)
