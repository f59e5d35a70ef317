"""A file of a disk that is replaced whole or not at all, and outlives a power failure."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

TEMPORARY = ".tmp"
"""Suffix of files that are still being written."""
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of disks that have no hard links."""


@contextmanager
def replacing(target: str, place: Callable[[str, str], object] = os.replace) -> Iterator[str]:
    """Give a temporary file to write; when that is whole and on disk, it replaces the target.

    Args:
        target: path of the file.
        place: gives the whole temporary file its name; `place_once` replaces no file.
    """
    folder = os.path.dirname(target)
    # A hidden name, which neither the ledger nor TensorBoard reads.
    temporary = f"{folder}/.{uuid.uuid4().hex}{TEMPORARY}"
    try:
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        place(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def place_once(temporary: str, target: str) -> None:
    """Rename a file to a name that is free; on disks without hard links, asked a moment before.

    Raises:
        FileExistsError: the name is taken.
    """
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.replace(temporary, target)
    else:
        os.unlink(temporary)


def _sync_folder(folder: str) -> None:
    """Flush a folder to disk, so that a file's new name outlives a power failure."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
