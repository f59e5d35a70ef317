"""Files that appear whole or not at all, and one process at a time."""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ABANDONED_S = 3600.0
"""A temporary file that nobody has written to for so long is what a killed process left."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what is written there takes its place, whole and on the disk.

    After an exception nothing is left of it, and what `path` held stays.
    """
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for all other processes and threads of this machine that hold the same lock file.

    Unlike `filelock`'s, the file is there only while somebody holds it or waits, and on a disk
    without locks nobody waits.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError:
                pass
            if _is_open_as(path, descriptor):  # else its holder has removed it meanwhile
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def sweep(folder: Path) -> None:
    """Delete the temporary files of processes that were killed."""
    for path in folder.glob(".*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()
        except OSError:  # another process was faster, or it is not ours
            pass


def _is_open_as(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
