"""Exceptions that end a command without a result. Each has its own exit status."""

from __future__ import annotations


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


def printable(text: str) -> str:
    """Escape control characters: names in archives and tables may hold terminal commands."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
