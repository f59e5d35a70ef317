"""Archives: list entries, refuse those that would lead out, and read zip from many threads."""

from __future__ import annotations

import bz2
import lzma
import posixpath
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

from revo_ray.data.files import tar
from revo_ray.data.files.stored_file import Content, StoredFile, check_size
from revo_ray.data.image_records import Problem

_HEADER = struct.Struct("<4s22xHH")  # signature, …, length of the name, length of the extra field
_ROOM = 1024  # bytes read for name and extra field, whose lengths only the header tells
_ENCRYPTED = 0x1

_ZIP = (".zip",)
_TAR = (
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz"),
    *(".tar.zst", ".tzst"),
)


def is_archive(path: str) -> bool:
    """Whether a file's name ends as those of zip and tar archives do."""
    return path.lower().endswith((*_ZIP, *_TAR))


class ArchiveError(Exception):
    """A file that is damaged, or no archive."""


class RefusedArchiveError(ArchiveError):
    """A sound archive that is not read."""


def _unpack_lzma(content: bytes, most: int) -> bytes:
    length = int.from_bytes(content[2:4], "little")
    header = content[4 : 4 + length] + b"\xff" * 8  # of a size that the end will tell
    unpack = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=2**28)
    return unpack.decompress(header + content[4 + length :], most)


_UNPACK: dict[int, Callable[[bytes, int], bytes]] = {
    zipfile.ZIP_STORED: lambda content, most: content,
    zipfile.ZIP_DEFLATED: lambda content, most: zlib.decompressobj(-zlib.MAX_WBITS).decompress(
        content, most
    ),
    zipfile.ZIP_BZIP2: lambda content, most: bz2.BZ2Decompressor().decompress(content, most),
    zipfile.ZIP_LZMA: _unpack_lzma,
}
"""Functions that unpack at most so many bytes, by the method of compression."""

_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}


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
        check_size(max(size, self.info.compress_size))
        try:
            content = _UNPACK[self.info.compress_type](self._packed(), size + 1)
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
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
        entries: size and content by path; of two with one path the later, as after `unzip -o`.
        folders: folders that have an entry of their own.
        problems: entries that are refused.
    """

    entries: dict[str, tuple[int, Content]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_directory(archive: StoredFile, folder: str = "", label: str = "") -> Contents:
    """List the entries of a zip or tar archive.

    Args:
        archive: the file.
        folder: folder that the paths of the entries begin with.
        label: name of the archive in the causes of problems; "" leaves it out.

    Raises:
        ArchiveError: the file is damaged or no archive.
        RefusedArchiveError: it is a bomb, or a password protects all of it.
        OSError: the file cannot be read, or the disk of temporary files is full.
    """
    contents = Contents()
    name = archive.path.lower()
    if not name.endswith(_TAR):
        file = archive.random_access()
        try:
            infos = _zip_directory(file)
        except RefusedArchiveError:
            raise
        except ArchiveError:
            if name.endswith(_ZIP):
                raise
        else:
            for info in infos:
                found = info.file_size, Entry(file, info)
                slash = info.filename.endswith(("/", "\\"))
                _add(contents, _name(info), found, _refused(info), slash, folder, label)
            return contents
    try:
        members = tar.members(archive)
    except tar.BombError as error:
        raise RefusedArchiveError(str(error)) from None
    except tar.TarError as error:
        raise ArchiveError(str(error)) from None
    for member_info, member in members:
        path = member_info.name.encode("utf-8", "surrogateescape").decode(
            "utf-8", "backslashreplace"
        )
        cause = tar.refused(member_info)
        _add(contents, path, (member.size, member), cause, member_info.isdir(), folder, label)
    return contents


def _zip_directory(file: pa.NativeFile) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error) as error:
        raise ArchiveError(str(error)) from None
    files = [info for info in infos if not info.is_dir()]
    if files and all(info.flag_bits & _ENCRYPTED for info in files):
        raise RefusedArchiveError("a password protects it; unpack it, and name the folder instead")
    return infos


def _add(
    contents: Contents,
    name: str,
    content: tuple[int, Content],
    cause: str | None,
    is_folder: bool,
    folder: str,
    label: str,
) -> None:
    """Add an entry by its name in the archive, unless there is a cause for refusing it."""
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    if not parts:
        return  # the root itself
    path = posixpath.join(folder, *parts)
    if name.startswith(("/", "\\")) or ".." in parts or re.match("[A-Za-z]:", parts[0]):
        path, cause = name.replace("\\", "/"), "its path leads out of the archive"
    if cause is not None:
        contents.problems.append(Problem(path, cause + (f", in {label}" if label else "")))
    elif is_folder:
        contents.folders.append(path)
    else:
        contents.entries[path] = content


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
    if info.flag_bits & _ENCRYPTED:
        return "encrypted with a password"
    if info.compress_type not in _UNPACK:
        method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        return f"compressed with {method}, which is not read; pack it with Deflate"
    return None
