"""Files on this machine: whole or not at all, one process at a time; their checksums, the cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

CACHE = "REVO_RAY_CACHE"
"""Environment variable with the path of a machine's cache folder."""
ABANDONED_S = 3600.0
"""Age in seconds after which a temporary file counts as left by a killed process."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; the file written there then replaces `path` whole.

    After an exception the temporary file is deleted and `path` stays as it was.
    """
    temporary = path.with_name(f".{path.stem[:40]}-{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def filling(path: Path) -> Iterator[Path]:
    """Give a path to write the content of a file that a user named.

    A file is replaced whole, see `replacing`; of a link, the file that it leads to. A device or a
    FIFO is written to, as it is.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    with replacing(Path(os.path.realpath(path))) as temporary:
        yield temporary


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for all other processes and threads of this machine that hold the same lock file.

    Unlike `filelock`'s, the file is there only while somebody holds it or waits, and on a disk
    without locks nobody waits.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_open_as(path, descriptor):  # else its holder has removed it meanwhile
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def delete_leftovers(folder: Path) -> None:
    """Delete the temporary files of processes that were killed."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):  # another process was faster, or it is not ours
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()


def _is_open_as(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def cache_root() -> Path:
    """This machine's cache folder, which may not exist yet.

    Raises:
        RuntimeError: the user has no home folder.
    """
    chosen = os.environ.get(CACHE)
    return Path(os.path.expanduser(chosen)) if chosen else Path.home() / ".cache" / "revo_ray"


def make_cache() -> None:
    """Make the cache folder, for its user alone.

    Raises:
        OSError: it cannot be made.
    """
    cache_root().mkdir(mode=0o700, parents=True, exist_ok=True)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file; it is computed once for a file that has not changed since.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _sha256(path, stamp)


@cache
def _sha256(path: Path, stamp: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
