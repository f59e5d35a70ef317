"""A file on a disk or a remote file system: its bytes, and a stamp that shows changes."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import time
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
from pyarrow import fs

MAX_BYTES = 2**30
"""Size limit of files that are read into memory; no image is larger."""

RECENT_NS = 2 * 10**9
"""Age in nanoseconds below which a file may still change without a new time of change."""


class Content(Protocol):
    """The bytes of a file or an archive entry; many threads may read them at once."""

    @property
    def stamp(self) -> str | None:
        """See `image_records.Picture`."""

    def digest(self) -> str:
        """See `image_records.Picture`."""

    def read(self) -> bytes:
        """Return all bytes, or raise OSError."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is not an entry of an archive.

    Attributes:
        system: remote file system; None for a local or mounted disk, whose file names may hold
            bytes that pyarrow refuses.
        folder: path of its folder on that system, one text for all files in it.
        name: its name in the folder.
        mark: number that changes whenever the content may have changed; it takes less memory than
            its text.
    """

    system: fs.FileSystem | None
    folder: str
    name: str
    mark: int = 0

    @classmethod
    def on_disk(cls, path: str, status: os.stat_result) -> StoredFile:
        """A file on a local or mounted disk, by its absolute path and the result of `os.stat`."""
        changes = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        return cls(None, *_parts(path), _mark(status.st_ctime_ns, path, *changes))

    @classmethod
    def remote(cls, system: fs.FileSystem, info: fs.FileInfo, uri: str) -> StoredFile:
        """A file on a remote file system; `uri` is the folder that was listed."""
        mark = _mark(info.mtime_ns or 0, uri, info.path, info.size, info.mtime_ns)
        return cls(system, *_parts(info.path), mark)

    @property
    def path(self) -> str:
        """Path on the system."""
        return self.folder + self.name

    @property
    def stamp(self) -> str:
        """The mark as text."""
        return f"{self.mark:015x}"

    def digest(self) -> str:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        """All bytes.

        Raises:
            OSError: the file cannot be read, or is larger than `MAX_BYTES`.
        """
        with self.random_access() as file:
            check_size(file.size())
            return bytes(file.read())

    def random_access(self) -> pa.NativeFile:
        """Open the file for reading in parts.

        Raises:
            OSError: the file cannot be opened.
        """
        if self.system is not None:
            return self.system.open_input_file(self.path)
        try:
            return pa.OSFile(os.fsencode(self.path))
        except OSError as error:  # its message is pyarrow's: raise one with the usual text
            code = error.errno or errno.EIO
            raise OSError(code, os.strerror(code), self.path) from None


@dataclass(frozen=True, slots=True)
class ReadFile:
    """Bytes that were read.

    Attributes:
        stamp: stamp of the file before it was read.
    """

    stamp: str | None
    _digest: str
    _bytes: bytes

    @classmethod
    def of(cls, content: Content) -> ReadFile:
        """Read a file or an archive entry once.

        Raises:
            OSError: as its `read`.
        """
        data = content.read()
        # Without a stamp the digest needs no reading; otherwise it is that of the bytes.
        cheap = content.stamp is None
        return cls(
            content.stamp, content.digest() if cheap else hashlib.sha256(data).hexdigest(), data
        )

    def digest(self) -> str:
        """Digest of the file."""
        return self._digest

    def read(self) -> bytes:
        """All bytes."""
        return self._bytes


def check_size(size: int) -> None:
    """Refuse to read more than `MAX_BYTES` into memory.

    Raises:
        OSError: the size is larger.
    """
    if size > MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def _parts(path: str) -> tuple[str, str]:
    """The folder of a path, with the slash at its end, and the name."""
    folder, slash, name = path.rpartition("/")
    return sys.intern(folder + slash), name


def _mark(changed_ns: int, *values: object) -> int:
    """Hash the values that change with a file; the hash of a recent file is never repeated."""
    now = time.time_ns()
    recent = now - changed_ns <= RECENT_NS
    digest = hashlib.sha256(repr((*values, now if recent else None)).encode()).hexdigest()
    return int(digest[:15], 16)
