"""The terminal: everything that is printed goes through it and is cleaned.

Names in archives, labels and files of a run directory may hold sequences that a terminal obeys:
they erase lines, forge rows, or fill the clipboard.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from revo_ray.errors import printable

_LINES = "\n\t"
_format_warning = warnings.formatwarning


class Terminal(Console):
    """A console whose texts, tables, bars and Markdown obey nothing that names hold."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render a thing to segments of clean text; rich's own control codes stay."""
        for segment in super().render(renderable, options):
            if not segment.control:
                segment = Segment(printable(segment.text, keep="\n"), segment.style)
            yield segment


class CleanFormatter(logging.Formatter):
    """Formats the logs of libraries, which may name files."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record."""
        return printable(super().format(record), keep=_LINES)


def clean_warnings() -> None:
    """Clean Python's warnings, which may quote files."""

    def format_one(*arguments: Any, **options: Any) -> str:
        return printable(_format_warning(*arguments, **options), keep=_LINES)

    vars(warnings)["formatwarning"] = format_one


class CleanStream:
    """Writes text to a stream, cleaned but for line breaks and tabs.

    Args:
        stream: the stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        return self._stream.write(printable(text, keep=_LINES))

    def flush(self) -> None:
        """Write what is left in buffers."""
        self._stream.flush()


def say(console: Console | None, text: str) -> None:
    """Print a line as it is, without markup and without wrapping; nothing without a console."""
    if console is not None:
        options: Any = {"markup": False, "emoji": False, "highlight": False}
        console.print(printable(text), **options, soft_wrap=True)
