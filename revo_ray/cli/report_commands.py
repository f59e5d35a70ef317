"""`watch` shows a search or a study while it runs; `report` writes about it at any time."""

from __future__ import annotations

import sys
from functools import partial
from typing import Annotated

import typer

from revo_ray.cli.console import out, say
from revo_ray.cli.next_commands import Step, after_report, after_watch, show_next
from revo_ray.cli.streams import unread
from revo_ray.errors import UserError
from revo_ray.storage import Storage
from revo_ray.uris import divided

Directory = Annotated[
    str,
    typer.Argument(
        metavar="DIR", help="The run directory of a search or the folder of a study, path or URI."
    ),
]


def watch(
    directory: Directory,
    once: Annotated[
        bool, typer.Option("--once", help="Print the current state once, and end.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two updates.")] = 2.0,
) -> int:
    """Show the progress of a search or a study that runs elsewhere, until it ends.

    Exit status: 0 if it finished or reached search.stop_after, 3 if it stopped or died before.
    """
    from revo_ray.monitor.watch import watch as watch_directory

    nobody = partial(unread, sys.stdout)
    end = watch_directory(directory, out, once=once, every=every, unread=nobody)
    if end is not None:
        show_next(after_watch(directory, resumable=end.resumable))
    return 0 if end is None or end.complete else 3


def report(
    directory: Directory,
    reference: Annotated[
        str | None, typer.Option(help="The method of a study that the others are compared with.")
    ] = None,
) -> None:
    """Write a page, tables, statistics and figures of all that is finished."""
    folder = Storage(directory)
    if not folder.exists() or (folder.local and not folder.local.is_dir()):
        raise UserError(f"no such folder {directory!r}")
    show_next(show_report(folder, reference))


def show_report(folder: Storage, reference: str | None = None) -> list[Step]:
    """Write the report of a search or a study, and print its text and where it lies.

    Returns:
        The commands to type next.
    """
    from rich.markdown import Markdown

    from revo_ray.report.pages.site import write_page
    from revo_ray.report.study_report import study_report, write_report
    from revo_ray.rundir import open_directory

    found = study_report(open_directory(folder), reference=reference)
    written = write_report(found)
    out.print(Markdown(found.markdown, hyperlinks=False))
    figures = write_page(found)
    paths = (divided(uri)[0] for uri in written)  # without the options of an object store
    tables = ", ".join(path.rpartition("/")[2] for path in paths if "/figures/" not in path)
    say(f"page:   {figures.page}")
    say(f"report: {figures.folder}: {tables} and {figures.count} figures")
    return after_report(found.directory, figures.page)
