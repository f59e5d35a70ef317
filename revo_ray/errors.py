"""Exceptions that end a command without a result. Each has its own exit status."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"


class UserError(Exception):
    """The configuration, the data or a file is wrong; exit status 2.

    Args:
        message: one line that names the thing, the value and the way out.
        key: the configuration key at fault, such as `data.root`. The command line adds where that
            key was set.
    """

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(printable(" ".join(message.split())))
        self.key = key

    def __str__(self) -> str:
        message = super().__str__()
        return f"{self.key}: {message}" if self.key else message


class SearchError(Exception):
    """The search could not be completed; exit status 3. The message is one line."""


class Interrupted(KeyboardInterrupt):
    """The user or a scheduler asked to stop (SIGINT, SIGTERM); exit status 130, resumable."""


def printable(text: str, keep: str = "") -> str:
    """Escape characters that terminals obey: names in archives and tables may hold commands.

    These are control characters, line separators, directions of writing, and all that has no
    glyph. Spaces of any width stay, and what joins letters in Persian, Hindi and emoji.

    Args:
        text: the text.
        keep: control characters to leave as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_harmless(c) or c in keep else ascii(c)[1:-1] for c in text)


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) == "Zs"


def first_line(error: object) -> str:
    """The first line of an error's message that is not empty; else the error's type."""
    return next(iter(_lines(error)), type(error).__name__)


def last_line(error: object) -> str:
    """The last line of a message that holds a traceback: it names the error."""
    return next(reversed(_lines(error)), "no cause given")


def _lines(error: object) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()]
