"""Where a running search stands: one live line on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar

from revo_ray.ledger import Evaluation


class Progress:
    """Shows evaluations done, the best so far and the time left; a listener of the ledger.

    Args:
        total: the budget, in evaluations.
        console: where to write; None shows nothing.
    """

    def __init__(self, total: int, console: Console | None) -> None:
        self._total = total
        self._console = console
        self._best: Evaluation | None = None
        self._done = 0
        self._done_before = 0
        self._failed = 0
        self._said = 0
        self._first: float | None = None  # when the first new row came: workers start slowly
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
            self._line(f"resumed with {self._done} evaluations done{self._best_text()}")
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
        self._first = self._first or time.monotonic()
        if self._console is None:
            return
        if self._bar is not None:
            text = f"{self._best_text().lstrip(', ')}{self._failed_text()} · {self._left_text()}"
            self._bar.update(self._bar.task_ids[0], completed=self._done, description=text)
        elif improved or self._done - self._said >= max(1, self._total // 20):
            self._said = self._done
            self._line(
                f"{self._done}/{self._total} evaluations{self._best_text()}{self._failed_text()}, "
                f"{self._left_text()}"
            )

    def close(self) -> None:
        """Take the live line off the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def _count(self, row: Evaluation) -> bool:
        self._done += 1
        self._failed += not row.scored
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
        made = self._done - self._done_before - 1
        if made < 1 or self._first is None:
            return "time left not known yet"
        each = (time.monotonic() - self._first) / made
        return f"{duration(each * (self._total - self._done))} left"


def duration(seconds: float) -> str:
    """Seconds as people say them: 8s, 3m 05s, 2h 07m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
