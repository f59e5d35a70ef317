"""Tar archives, packed or not: list members, and read them from many threads."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa

from revo_ray.data.files.stored_file import StoredFile, check_size

_PACKED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda file: pa.CompressedInputStream(file, "zstd"),
}
"""Functions that unpack a file, by the bytes with which it begins."""

MOST_UNPACKED = 2**32
"""An archive may unpack to that many bytes, or to `MOST_RATIO` times its own."""

MOST_RATIO = 50

_CHUNK = 2**20


class TarError(Exception):
    """A file that is damaged, or no tar archive."""


class BombError(TarError):
    """An archive that would fill the disk of temporary files."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar archive; many threads may read members at once.

    Attributes:
        file: archive, not packed and open for random access.
        start, size: place and size of the content, in bytes.
        stamp: text that changes whenever the content may have changed.
    """

    file: pa.NativeFile
    start: int
    size: int
    stamp: str

    def digest(self) -> str:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        """All bytes.

        Raises:
            OSError: the member is cut off, or larger than `stored_file.MAX_BYTES`.
        """
        check_size(self.size)
        content = bytes(self.file.read_at(self.size, self.start)) if self.size else b""
        if len(content) != self.size:
            raise OSError("damaged in its tar archive")
        return content


def members(archive: StoredFile) -> list[tuple[tarfile.TarInfo, Member]]:
    """List the members of an archive, with folders, links and devices.

    A packed archive, or one on a remote file system, is copied once into a temporary file without
    a name, which goes when the last member goes.

    Raises:
        TarError: the file is damaged, or no tar archive.
        BombError: it unpacks to too many bytes.
        OSError: the file cannot be read, or the disk of temporary files is full.
    """
    file = _unpacked(archive)
    try:
        with tarfile.open(fileobj=file, mode="r:") as opened:
            infos = opened.getmembers()
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        raise TarError(str(error)) from None
    return [
        (info, Member(file, info.offset_data, info.size, f"{archive.stamp}:{info.offset_data}"))
        for info in infos
    ]


def refused(info: tarfile.TarInfo) -> str | None:
    """Cause for refusing a member; None if it is a file or a folder."""
    if info.issym():
        return "a symbolic link inside an archive"
    if info.islnk():
        return "a hard link inside an archive"
    if info.issparse():
        return "a sparse file inside an archive"
    return None if info.isfile() or info.isdir() else "no regular file"


def _unpacked(archive: StoredFile) -> pa.NativeFile:
    """The archive without its packing, open for random access."""
    file = archive.random_access()
    begin = bytes(file.read(6))
    file.seek(0)
    opener = next((way for mark, way in _PACKED.items() if begin.startswith(mark)), None)
    if opener is None and archive.system is None:
        return file
    most = max(MOST_UNPACKED, MOST_RATIO * file.size()) if opener else file.size()
    try:
        return _copied(opener(file) if opener else file, most)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno:  # of a disk, not of a decompressor
            raise
        raise TarError(str(error)) from None


def _copied(content: IO[bytes], most: int) -> pa.NativeFile:
    """Copy content into a temporary file whose name is gone."""
    first = content.read(512)
    if len(first) < 512 or not _is_header(first):
        raise TarError("no tar archive")
    handle, path = tempfile.mkstemp(suffix=".tar")
    try:
        with os.fdopen(handle, "wb") as file:
            size = file.write(first)
            while chunk := content.read(_CHUNK):
                size += file.write(chunk)
                if size > most:
                    raise BombError(
                        f"it unpacks to more than {most:,} bytes; unpack it yourself, and name the "
                        "folder instead"
                    )
        return pa.OSFile(path)
    finally:
        os.unlink(path)


def _is_header(block: bytes) -> bool:
    """Whether a file that begins with this block may be a tar archive."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return not any(block)  # an empty archive
    return True
