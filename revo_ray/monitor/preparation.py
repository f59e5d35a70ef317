"""Progress of the preparation of a table: a bar on a terminal, two lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from revo_ray.data.image_records import Finding
from revo_ray.data.table.image_table import Table, prepare_table
from revo_ray.monitor.terminal import say
from revo_ray.settings.schema import DataConfig
from revo_ray.words import counted, duration


def prepare_and_show(
    config: DataConfig, folder: Path, console: Console | None, told: set[Finding] | None = None
) -> Table:
    """Call `prepare_table`, and show its progress and the findings on the console.

    A table that is there already shows no progress of images. Images that cannot be split are
    refused before one is decoded.

    Args:
        config, folder: as for `prepare_table`.
        console: the console to write to; None shows nothing.
        told: findings that were shown for other tables. They are not repeated, and new ones are
            added.

    Raises:
        UserError: as `prepare_table`.
    """
    with table_progress(console) as show, near_duplicates_progress(console) as seeking:
        table = prepare_table(config, folder, show, seeking=seeking, must_split=True)
    told = set() if told is None else told
    for warning in table.warnings:
        if warning not in told:
            say(console, f"warning: {warning}")
    told.update(table.warnings)
    return table


@contextmanager
def table_progress(console: Console | None) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of one preparation: give `prepare_table` the function that this yields.

    Args:
        console: the console to write to; None shows nothing.
    """
    columns = BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(TextColumn("preparing images"), *columns, console=console, transient=True)
    began, images = None, 0

    def show(done: int, total: int) -> None:
        nonlocal began, images
        if began is None:
            began, images = time.monotonic(), total
            if console is not None and console.is_terminal:
                bar.add_task("", total=total, completed=done)
                bar.start()
            else:
                known = f", {done} of them known" if done else ""
                say(console, f"preparing {counted(total, 'image')}{known}")
        for task in bar.task_ids:
            bar.update(task, completed=done)
        if bar.task_ids and done == total:
            bar.stop()  # another bar may follow

    try:
        yield show
    finally:
        if bar.task_ids:  # else it was not started, and to stop it would print an empty line
            bar.stop()
    if began is not None:
        say(console, f"prepared {counted(images, 'image')} in {duration(time.monotonic() - began)}")


@contextmanager
def near_duplicates_progress(console: Console | None) -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how far the search for near-duplicates is; yields the function to call.

    Args:
        console: the console to write to; None shows nothing.
    """
    bar = Progress(
        TextColumn("seeking twins"),
        *(BarColumn(bar_width=24), TimeRemainingColumn()),
        console=console,
        transient=True,
    )

    def show(done: int, total: int) -> None:
        if console is None or not console.is_terminal:
            return
        if not bar.task_ids:
            bar.add_task("", total=total)
            bar.start()
        bar.update(bar.task_ids[0], completed=done)
        if done == total:
            bar.stop()

    try:
        yield show
    finally:
        if bar.task_ids:
            bar.stop()
