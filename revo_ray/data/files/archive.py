"""Zip archives: list entries by the archive's directory, and read them from many threads."""

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

from revo_ray.data.files.stored_file import MAX_BYTES
from revo_ray.data.image_records import Problem

_HEADER = struct.Struct("<4s22xHH")  # signature, …, length of the name, length of the extra field
_ROOM = 1024  # bytes read for name and extra field, whose lengths only the header tells


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of an archive; many threads may read entries at once.

    Attributes:
        file: archive, open for random access.
        info: description of the entry in the archive's directory.
    """

    file: pa.NativeFile
    info: zipfile.ZipInfo

    @property
    def stamp(self) -> None:
        """None: the archive's directory holds a digest."""

    def digest(self) -> str:
        """CRC-32 and size of the content, from the directory."""
        return f"crc32:{self.info.CRC:08x}:{self.info.file_size}"

    def read(self) -> bytes:
        """All bytes, checked against their CRC-32.

        Raises:
            OSError: the entry is damaged, or larger than it declares or than `MAX_BYTES`.
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
        """Read the compressed bytes at once: without a lock, and with one request to a store.

        `ZipFile.open` needs three requests, and threads would take turns.
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
    """Contents of an archive, with the paths that they would have unpacked.

    Attributes:
        entries: entries by path; of two with one path the later, as after `unzip -o`.
        folders: folders that have an entry of their own.
        problems: entries that are refused.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_directory(file: pa.NativeFile, folder: str = "", label: str = "") -> Contents:
    """List the entries of a zip archive without reading one.

    Args:
        file: archive, open for random access.
        folder: folder that the paths of the entries begin with.
        label: name of the archive in the causes of problems; "" leaves it out.

    Raises:
        zipfile.BadZipFile: the file is damaged or no zip archive.
        OSError: the file cannot be read.
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
    """Name of an entry: in UTF-8, with or without the flag that says so, or in code page 437."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _refused(info: zipfile.ZipInfo) -> str | None:
    """Cause for refusing an entry; None if it can be read."""
    kind = stat.S_IFMT(info.external_attr >> 16)  # Unix mode; 0 if the archive has none
    if kind == stat.S_IFLNK:
        return "a symbolic link inside an archive"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "no regular file"
    if info.flag_bits & 0x1:
        return "encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"compressed by method {info.compress_type}, not by deflate"
    return None
