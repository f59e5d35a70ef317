"""Zip archives: their entries are judged by the directory alone, and read from many threads."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass, field

import pyarrow as pa

from revo_ray.data.records import Problem

MAX_BYTES = 2**30
"""A file or an entry that is larger is no image, and is not read into memory."""

_HEADER = struct.Struct("<4s22xHH")  # signature, …, length of the name, length of the extra field
_ROOM = 1024  # for the name and the extra field, whose lengths only the header itself tells


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of an archive; safe to read from many threads at once.

    Attributes:
        file: the archive, open for random access.
        info: the entry as the archive's directory describes it.
    """

    file: pa.NativeFile
    info: zipfile.ZipInfo

    @property
    def stamp(self) -> None:
        """None, for the archive's directory holds a digest."""

    def digest(self) -> str:
        """The content's CRC-32 and size, from the directory."""
        return f"crc32:{self.info.CRC:08x}:{self.info.file_size}"

    def read(self) -> bytes:
        """The content, checked against its CRC-32.

        Raises:
            OSError: it is damaged, larger than it declares or larger than `MAX_BYTES`.
        """
        size = self.info.file_size
        if max(size, self.info.compress_size) > MAX_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        content = self._packed()
        if self.info.compress_type == zipfile.ZIP_DEFLATED:
            try:
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
            except zlib.error:
                raise OSError("damaged in its zip archive") from None
        if len(content) != size or zlib.crc32(content) != self.info.CRC:
            raise OSError("damaged in its zip archive")
        return content

    def _packed(self) -> bytes:
        """The compressed bytes, by one positioned read: no lock, and one request to a store.

        `ZipFile.open` would take three, one thread at a time.
        """
        start, length = self.info.header_offset, self.info.compress_size
        end = self.file.size()
        head = self._read_at(start, min(start + _HEADER.size + _ROOM + length, end))
        if len(head) < _HEADER.size or not head.startswith(b"PK\3\4"):
            raise OSError("damaged in its zip archive")
        _, name, extra = _HEADER.unpack_from(head)
        begin = _HEADER.size + name + extra
        if len(head) < begin + length:
            head = self._read_at(start, min(start + begin + length, end))
        return head[begin : begin + length]

    def _read_at(self, start: int, end: int) -> bytes:
        return bytes(self.file.read_at(end - start, start)) if 0 <= start < end else b""


@dataclass
class Contents:
    """What an archive holds, as if it were unpacked.

    Attributes:
        entries: by path; of two entries with one path the later, as after `unzip -o`.
        folders: the folders that have an entry of their own.
        problems: the entries that are refused.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_directory(file: pa.NativeFile, folder: str = "", label: str = "") -> Contents:
    """The entries of a zip archive; none of them is read.

    Args:
        file: the archive, open for random access.
        folder: where it counts as unpacked.
        label: what the archive is called in the problems' causes, if it need be.

    Raises:
        zipfile.BadZipFile: it is damaged or no zip archive.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (NotImplementedError, ValueError, EOFError, struct.error) as error:
        raise zipfile.BadZipFile(str(error)) from None
    contents = Contents()
    for info in infos:
        name = _name(info)
        parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
        if not parts:
            continue  # the root itself
        path, cause = posixpath.join(folder, *parts), _refused(info)
        if name.startswith(("/", "\\")) or ".." in parts or re.match("[A-Za-z]:", parts[0]):
            path, cause = name.replace("\\", "/"), "its path leads out of the archive"
        if cause is not None:
            contents.problems.append(Problem(path, cause + (f", in {label}" if label else "")))
        elif name.endswith(("/", "\\")):
            contents.folders.append(path)
        else:
            contents.entries[path] = Entry(file, info)
    return contents


def _name(info: zipfile.ZipInfo) -> str:
    """The name, which old archivers wrote in UTF-8 without saying so, or in code page 437."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _refused(info: zipfile.ZipInfo) -> str | None:
    """Why an entry is not read, if so."""
    kind = stat.S_IFMT(info.external_attr >> 16)  # Unix's mode; 0 where there is none
    if kind == stat.S_IFLNK:
        return "a symbolic link inside an archive"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "no regular file"
    if info.flag_bits & 0x1:
        return "encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"compressed by method {info.compress_type}, not by deflate"
    return None
