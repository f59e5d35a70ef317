"""A file of a disk that is replaced whole or not at all, and outlives a power failure."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TEMPORARY = ".tmp"
"""Suffix of files that are still being written."""


@contextmanager
def replacing(target: str) -> Iterator[str]:
    """Give a temporary file to write; when that is whole and on disk, it replaces the target."""
    folder = os.path.dirname(target)
    # A hidden name, which neither the ledger nor TensorBoard reads.
    temporary = f"{folder}/.{uuid.uuid4().hex}{TEMPORARY}"
    try:
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Flush a folder to disk, so that a file's new name outlives a power failure."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
