"""Every file below a folder: on a local disk, or on any file system that pyarrow opens."""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
import time
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
from pyarrow import fs

from revo_ray.data.files import decode
from revo_ray.data.files.archive import MAX_BYTES, Contents
from revo_ray.data.records import Problem

_CLUTTER = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "@eadir"),
    *("__pycache__", "lost+found"),
}
"""What systems leave in folders, besides names that begin with a dot."""

SETTLED_NS = 2 * 10**9
"""A file that changed more recently may change again before the disk's clock goes on."""


class Content(Protocol):
    """Where a file's bytes are; safe to read from many threads at once."""

    @property
    def stamp(self) -> str | None:
        """See `records.Picture`."""

    def digest(self) -> str:
        """See `records.Picture`."""

    def read(self) -> bytes:
        """All bytes, or an OSError."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is no entry of an archive.

    Attributes:
        system: None for a local or mounted disk, whose names may hold bytes that pyarrow refuses.
        path: on that system.
        stamp: changes when the content may have.
    """

    system: fs.FileSystem | None
    path: str
    stamp: str = ""

    @classmethod
    def on_disk(cls, path: str, status: os.stat_result) -> Stored:
        """A file of a local or mounted disk, by its absolute path and what `os.stat` tells."""
        changes = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        return cls(None, path, _stamp(status.st_ctime_ns, path, *changes))

    def digest(self) -> str:
        """The bytes' SHA-256."""
        return hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        """All bytes.

        Raises:
            OSError: it cannot be read, or holds more than `MAX_BYTES`.
        """
        with self.random_access() as file:
            if file.size() > MAX_BYTES:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            return bytes(file.read())

    def random_access(self) -> pa.NativeFile:
        """The file, open to be read in parts.

        Raises:
            OSError: it cannot be opened.
        """
        if self.system is not None:
            return self.system.open_input_file(self.path)
        try:
            return pa.OSFile(os.fsencode(self.path))
        except OSError as error:  # whose text is pyarrow's own
            code = error.errno or errno.EIO
            raise OSError(code, os.strerror(code), self.path) from None


@dataclass
class Listing:
    """What stands below a root, in no order; see `files.Tree`."""

    files: dict[str, tuple[int, Content]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: str, size: int, content: Content) -> None:
        """A file, unless there is one of that path already."""
        if size > MAX_BYTES and decode.is_image(path):
            cause = f"{size:,} bytes, over the limit of {MAX_BYTES:,}"
            self.problems.append(Problem(path, cause))
        else:
            self.files.setdefault(path, (size, content))

    def add_archive(self, contents: Contents) -> None:
        """The entries of an archive, but for those whose paths there are already."""
        self.problems += [found for found in contents.problems if found.name not in self.files]
        self.folders.update(contents.folders)
        for path, entry in contents.entries.items():
            self.add(path, entry.info.file_size, entry)


def list_local(root: str) -> Listing:
    """What is below a folder of a local disk; links to a folder that holds them are left out.

    Raises:
        OSError: a folder cannot be listed; its path is the error's `filename`.
    """
    listing = Listing()
    waiting: list[tuple[str, str, tuple[str, ...]]] = [(root, "", ())]
    while waiting:
        folder, prefix, passed = waiting.pop()
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
        for entry in entries:
            path = posixpath.join(prefix, _utf8(entry.name))
            if is_clutter(entry.name):
                continue
            if not _is_folder(entry):
                _add_local(entry, path, listing)
                continue
            trail = passed  # the folders whose links led here
            if entry.is_symlink():
                trail = (*passed, os.path.realpath(folder))
                if _holds(os.path.realpath(entry.path), trail):
                    continue
            listing.folders.add(path)
            waiting.append((entry.path, path, trail))
    return listing


def list_remote(system: fs.FileSystem, root: str, uri: str) -> Listing:
    """What is below a folder of another file system.

    Raises:
        OSError: it cannot be listed.
    """
    listing = Listing()
    for info in system.get_file_info(fs.FileSelector(root, recursive=True)):
        path = info.path[len(root) :].strip("/")
        if info.type == fs.FileType.File and not info.path.endswith("/"):
            stamp = _stamp(info.mtime_ns or 0, uri, info.path, info.size, info.mtime_ns)
            listing.add(path, info.size, Stored(system, info.path, stamp))
        elif path:  # object stores may hold an empty object that stands for a folder
            listing.folders.add(path)
    return listing


def is_clutter(path: str) -> bool:
    """Whether a file, or a folder that it is in, is hidden or what some system left behind."""
    return any(
        (part.startswith(".") and part != "..") or part.lower() in _CLUTTER
        for part in path.split("/")
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where one may not look
        return False


def _holds(folder: str, paths: tuple[str, ...]) -> bool:
    """Whether a folder is one of these or an ancestor of one."""
    return any(os.path.commonpath([folder, path]) == folder for path in paths)


def _add_local(entry: os.DirEntry[str], path: str, listing: Listing) -> None:
    try:
        status = entry.stat()
    except OSError as error:
        cause = "a broken symbolic link" if entry.is_symlink() else decode.explain(error)
    else:
        if stat.S_ISREG(status.st_mode) and path not in listing.files:
            listing.add(path, status.st_size, Stored.on_disk(entry.path, status))
            return
        cause = "no regular file"
        if path in listing.files:
            cause = "two files whose names differ in bytes that are no UTF-8"
    if decode.is_image(path):
        listing.problems.append(Problem(path, cause))


def _utf8(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _stamp(changed_ns: int, *values: object) -> str:
    """A hash of what tells of a change, or one that never comes again where that may not yet."""
    now = time.time_ns()
    settled = now - changed_ns > SETTLED_NS
    return hashlib.sha256(repr((*values, None if settled else now)).encode()).hexdigest()
