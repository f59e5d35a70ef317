"""Progress of the preparation of a table: a bar on a terminal, two lines in a log."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from revo_ray.data.table.image_table import Table, prepare_table
from revo_ray.monitor.progress import say
from revo_ray.settings.schema import DataConfig
from revo_ray.words import duration


def prepare_and_show(config: DataConfig, folder: Path, console: Console | None) -> Table:
    """Call `prepare_table`, and show its progress and the source's warnings on the console.

    A table that is there already shows no progress. Images that cannot be split are refused before
    one is decoded.

    Raises:
        UserError: as `prepare_table`.
    """
    with TableProgress(console) as shown:
        table = prepare_table(config, folder, shown, must_split=True)
    for warning in table.warnings:
        say(console, f"warning: {warning}")
    return table


class TableProgress:
    """Shows the progress of one preparation; `prepare_table` calls it, inside a `with`.

    Args:
        console: the console to write to; None shows nothing.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._began: float | None = None
        self._total = 0

    def __enter__(self) -> TableProgress:
        return self

    def __call__(self, done: int, total: int) -> None:
        """Show how many images are done."""
        if self._console is None:
            return
        if self._began is None:
            self._began, self._total = time.monotonic(), total
            if self._console.is_terminal:
                self._start_bar(total)
            else:
                say(self._console, f"preparing {total} images")
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._began is not None and error is None:
            seconds = time.monotonic() - self._began
            say(self._console, f"prepared {self._total} images in {duration(seconds)}")

    def _start_bar(self, total: int) -> None:
        self._bar = Progress(
            TextColumn("preparing images"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._bar.start()
        self._bar.add_task("", total=total)
