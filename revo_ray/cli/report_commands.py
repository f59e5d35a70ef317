"""`watch` shows a search or a study while it runs; `report` writes about it at any time."""

from __future__ import annotations

import sys
from functools import partial
from typing import Annotated

import typer

from revo_ray.cli.console import out, say
from revo_ray.cli.next_commands import Step, after_report, after_watch, show_next
from revo_ray.cli.search_result import show_forms
from revo_ray.cli.streams import unread
from revo_ray.errors import UserError
from revo_ray.rundir import Directory, RunDirectory, open_directory
from revo_ray.storage import Storage
from revo_ray.uris import divided

FolderArgument = Annotated[
    str,
    typer.Argument(
        metavar="DIR", help="The run directory of a search or the folder of a study, path or URI."
    ),
]


def watch(
    directory: FolderArgument,
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
    directory: FolderArgument,
    reference: Annotated[
        str | None, typer.Option(help="The method of a study that the others are compared with.")
    ] = None,
) -> None:
    """Write a page, tables, statistics and figures of all that is finished."""
    show_next(show_report(Storage(directory), reference))


def show_report(folder: Storage, reference: str | None = None) -> list[Step]:
    """Write the report of a search or a study, and print its place.

    A study's tables and statistics are printed too; of a search, the scores of its forms.

    Returns:
        The commands to type next.
    """
    from revo_ray.cli.whole_tables import WholeTables
    from revo_ray.report.pages.site import write_page
    from revo_ray.report.study_report import study_report, write_report

    found = study_report(_reported(folder), reference=reference)
    written = write_report(found)
    if not isinstance(found.directory, RunDirectory):
        out.print(WholeTables(found.markdown, hyperlinks=False), crop=False)
    elif found.outcomes[0].result.forms:
        show_forms(found.directory)
    figures = write_page(found)
    paths = (divided(uri)[0] for uri in written)  # without the options of an object store
    tables = ", ".join(path.rpartition("/")[2] for path in paths if "/figures/" not in path)
    say(f"page:   {figures.page}")
    say(f"report: {figures.folder}: {tables} and {figures.count} figures")
    return after_report(found.directory, figures.page)


def _reported(folder: Storage) -> Directory:
    """The search or study in a folder, of which something can be reported.

    Raises:
        UserError: there is none.
    """
    from revo_ray.monitor.open_watched import missing_text, open_watched, refuse_file

    refuse_file(folder)
    directory = open_directory(folder)
    if isinstance(directory, RunDirectory) or directory.runs():
        return directory
    begun = open_watched(folder)
    raise UserError(
        f"{missing_text(folder)}; name the run directory of a search or a study"
        if begun is None
        else f"{folder.uri}: no search of it has begun yet"
    )
