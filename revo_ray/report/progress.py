"""Where a running search stands: one live line on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar

from revo_ray.ledger import Evaluation

if TYPE_CHECKING:
    from revo_ray.search.result import SearchResult


class Progress:
    """Shows evaluations done, the best so far and the time left; a listener of the ledger.

    Args:
        total: the budget.
        console: where to write; None shows nothing.
        unit: what the budget is counted in.
    """

    def __init__(
        self,
        total: int,
        console: Console | None,
        unit: Literal["evaluations", "epochs"] = "evaluations",
    ) -> None:
        self._total = total
        self._unit = unit
        self._console = console
        self._best: Evaluation | None = None
        self._done = 0
        self._done_before = 0
        self._failed = 0
        self._said = 0
        self._first: float | None = None  # when the first new row came: workers start slowly
        self._first_cost = 0
        self._bar: Bar | None = None

    def begin(self, rows: Iterable[Evaluation], headline: str) -> None:
        """Say what is searched, and count the rows that a resumed search starts with."""
        for row in rows:
            self._count(row)
        self._done_before = self._said = self._done
        if self._console is None:
            return
        self._line(headline)
        if self._done:
            self._line(f"resumed with {self._done} {self._unit} done{self._best_text()}")
        if self._console.is_terminal:
            self._bar = Bar(
                SpinnerColumn(),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.description}", markup=False),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._bar.add_task("starting workers", total=self._total, completed=self._done)

    def __call__(self, row: Evaluation) -> None:
        """Take note of a new row."""
        improved = self._count(row)
        if self._first is None:
            self._first, self._first_cost = time.monotonic(), self._done - self._done_before
        if self._console is None:
            return
        if self._bar is not None:
            text = f"{self._best_text().lstrip(', ')}{self._failed_text()} · {self._left_text()}"
            self._bar.update(self._bar.task_ids[0], completed=self._done, description=text)
        elif improved or self._done - self._said >= max(1, self._total // 20):
            self._said = self._done
            self._line(
                f"{self._done}/{self._total} {self._unit}{self._best_text()}{self._failed_text()}, "
                f"{self._left_text()}"
            )

    def close(self) -> None:
        """Take the live line off the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def _count(self, row: Evaluation) -> bool:
        self._done += 1 if self._unit == "evaluations" else row.epochs
        self._failed += not (row.scored or row.status == "stopped")
        improved = row.scored and (self._best is None or row.score < self._best.score)
        if improved:
            self._best = row
        return improved

    def _line(self, text: str) -> None:
        assert self._console is not None
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _best_text(self) -> str:
        if self._best is None:
            return ", no result yet"
        accuracy = self._best.val_accuracy
        shown = f", accuracy {accuracy:.3f}" if accuracy is not None else ""
        return f", best validation loss {self._best.val_loss:.4f}{shown} (#{self._best.evaluation})"

    def _failed_text(self) -> str:
        return f", {self._failed} failed" if self._failed else ""

    def _left_text(self) -> str:
        if self._done >= self._total:
            return "testing the best model" if self._best else "done"
        made = self._done - self._done_before - self._first_cost
        if made < 1 or self._first is None:
            return "time left not known yet"
        each = (time.monotonic() - self._first) / made
        return f"{duration(each * (self._total - self._done))} left"


class StudyProgress:
    """Shows the searches and evaluations of a study that are done; a listener of every ledger.

    Args:
        name: of the study.
        searches: how many there are.
        console: where to write; None shows nothing.
    """

    def __init__(self, name: str, searches: int, console: Console | None) -> None:
        self._name, self._searches, self._console = name, searches, console
        self._finished = 0
        self._rows = 0
        self._bar: Bar | None = None

    def begin(self, rows: Sequence[int]) -> None:
        """Say what is studied.

        Args:
            rows: how many each search that is not finished starts with.
        """
        self._rows, self._finished = sum(rows), self._searches - len(rows)
        if self._console is None:
            return
        before = f", {self._finished} finished before" if self._finished else ""
        before += f", {self._rows} evaluations of the others done" if self._rows else ""
        self._line(f"study {self._name}: {self._searches} searches{before}")
        if self._console.is_terminal:
            self._bar = Bar(
                SpinnerColumn(),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("searches{task.description}", markup=False),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._bar.add_task("", total=self._searches, completed=self._finished)

    def __call__(self, row: Evaluation) -> None:
        """Take note of a new row."""
        self._rows += 1
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=f", {self._rows} evaluations")

    def finish(self, result: SearchResult) -> None:
        """Say what a search ended with."""
        self._finished += 1
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._finished)
        loss = result.best["val_loss"] if result.best else None
        accuracy = result.test["accuracy"] if result.test else None
        found = "no evaluation succeeded" if loss is None else f"validation loss {loss:.4f}"
        tested = f", test accuracy {accuracy:.3f}" if accuracy is not None else ""
        self._line(f"{result.name}: {found}{tested} ({result.evaluations} evaluations)")

    def close(self) -> None:
        """Take the live line off the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def _line(self, text: str) -> None:
        if self._console is not None:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds as people say them: 8s, 3m 05s, 2h 07m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
