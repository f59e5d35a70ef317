"""The three ways in which a command can end without a result, each with its exit status."""

from __future__ import annotations


class UserError(Exception):
    """The configuration, the data or a file is wrong; exit status 2.

    Args:
        message: one line that names the thing, the value and the way out.
        key: the configuration key that it is about, such as `data.root`; the command line adds
            where that key was set.
    """

    def __init__(self, message: str, *, key: str | None = None) -> None:
        line = " ".join(message.split())
        # Names in archives and tables may hold what a terminal obeys.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))
        self.key = key

    def __str__(self) -> str:
        message = super().__str__()
        return f"{self.key}: {message}" if self.key else message


class SearchError(Exception):
    """The search could not be completed, for the reason given in one line; exit status 3."""


class Interrupted(KeyboardInterrupt):
    """The user or a scheduler asked to stop (SIGINT, SIGTERM); exit status 130, resumable."""
