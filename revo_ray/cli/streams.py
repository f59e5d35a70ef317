"""Standard streams that never fail: a command goes on when nobody reads what it prints."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import Any

_GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET, errno.EBADF)
"""Errors of a reader that does not come back: a closed pipe, a terminal that was hung up."""


class _Stream(io.FileIO):
    """The file of a standard stream. Text that cannot be written is dropped.

    Attributes:
        error: the first error, None if all was written.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data, or drop the rest."""
        rest = memoryview(data).cast("B")
        try:
            while rest:
                written = super().write(rest)
                if written is None:  # whoever shares the pipe made it non-blocking
                    select.select([], [self], [])
                else:
                    rest = rest[written:]
        except (OSError, ValueError) as error:
            self._fail(error)
        return memoryview(data).nbytes

    def _fail(self, error: OSError | ValueError) -> None:
        if not isinstance(error, OSError):
            return
        self.error = self.error or error
        if error.errno in _GONE:  # libraries, and processes that start later, write to it too
            _to_null(self.fileno())


def keep_open() -> None:
    """Give the process standard streams that cannot fail. Call it before anything is printed.

    A descriptor that is closed becomes /dev/null: the next file to be opened would get its number,
    and then what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _to_null(number)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        before = getattr(sys, name)
        raw = _Stream(number, "w", closefd=False)
        options: dict[str, Any] = {"encoding": "utf-8", "line_buffering": number == 2}
        if isinstance(before, io.TextIOWrapper):
            options = {
                key: getattr(before, key)
                for key in ("encoding", "errors", "line_buffering", "write_through")
            }
            with suppress(OSError, ValueError):
                before.flush()
        stream = io.TextIOWrapper(io.BufferedWriter(raw), **options)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def lost(stream: Any) -> OSError | None:
    """The error with which a stream lost something that was printed, if any."""
    with suppress(OSError, ValueError):
        stream.flush()
    return getattr(getattr(getattr(stream, "buffer", None), "raw", None), "error", None)


def unread(stream: Any) -> bool:
    """Whether nobody reads a stream any more, so that nothing needs to be printed to it."""
    error = lost(stream)
    return error is not None and error.errno in _GONE


def _to_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    else:
        os.set_inheritable(null, True)
