"""The console that all commands print to."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from revo_ray.errors import UserError, printable
from revo_ray.settings.schema import SearchConfig

if os.environ.get("COLUMNS", "").strip() == "0":  # a terminal without a size; rich shows nothing
    del os.environ["COLUMNS"]
out = Console()
errors = Console(stderr=True)


PIPE_WIDTH = 10_000
"""Longest line in a pipe or a file."""


def say(text: str, console: Console = out) -> None:
    """Print a line as it is, without markup and without wrapping."""
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


@contextmanager
def located(settings: SearchConfig) -> Iterator[None]:
    """Add to an error that names a key where that key was set."""
    try:
        yield
    except UserError as error:
        raise UserError(settings.locate(error)) from None


def program(name: str) -> str:
    """The command that starts a program of this environment; its path if the shell finds another.

    Args:
        name: `revo-ray` or another installed program.
    """
    here = Path(sys.executable).parent / name
    if not here.exists():
        return "python -m revo_ray" if name == "revo-ray" else name
    found = shutil.which(name)
    return name if found and Path(found).samefile(here) else shlex.quote(os.path.relpath(here))


def print_grid(rows: Sequence[Sequence[str]], console: Console) -> None:
    """Print rows: the first row is the header, the first column is text, the others are numbers."""
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for column, name in enumerate(rows[0]):
        grid.add_column(Text(name), justify="right" if column else "left", no_wrap=bool(column))
    for row in rows[1:]:
        grid.add_row(*(Text(printable(cell)) for cell in row))
    width = console.width
    if not console.is_terminal:  # a pipe or a file: names stay whole
        console.width = PIPE_WIDTH
    console.print(grid, crop=False)
    if not console.is_terminal:
        console.width = width
