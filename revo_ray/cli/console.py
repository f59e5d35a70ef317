"""The console that all commands print to, and how much they print."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from revo_ray.errors import UserError, printable
from revo_ray.monitor import terminal
from revo_ray.monitor.terminal import Terminal
from revo_ray.settings.schema import SearchConfig

if os.environ.get("COLUMNS", "").strip() == "0":  # a terminal without a size; rich shows nothing
    del os.environ["COLUMNS"]
out = Terminal()
errors = Terminal(stderr=True)


PIPE_WIDTH = 10_000
"""Longest line in a pipe or a file."""


@dataclass
class Mode:
    """The way in which the running command prints.

    Attributes:
        quiet: results and errors only.
        verbose: also the logs of libraries, and the traceback of each error.
        json: stdout is one JSON document, and all other text goes to stderr.
        told: whether that document is printed.
    """

    quiet: bool = False
    verbose: bool = False
    json: bool = False
    told: bool = False


mode = Mode()


def begin() -> None:
    """Print as a command does that got none of the options."""
    vars(mode).update(vars(Mode()))
    out.stderr = False


def for_programs() -> None:
    """Keep stdout for one JSON document; text goes to stderr from here on."""
    mode.json = out.stderr = True


def tell(document: Any) -> None:
    """Print the JSON document on stdout."""
    mode.told = True
    print(json.dumps(document, indent=2))


def progress() -> Console | None:
    """The console for what a command does meanwhile; None if it is to be quiet."""
    return None if mode.quiet else out


def say(text: str, console: Console = out) -> None:
    """Print a line as it is, without markup and without wrapping."""
    terminal.say(console, text)


def complain(text: str) -> None:
    """Print lines on stderr."""
    print(printable(text.rstrip("\n"), keep="\n"), file=sys.stderr)


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
