"""List every file below a folder on a local disk or a remote file system."""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass, field

from pyarrow import fs

from revo_ray.data.files import decode, formats
from revo_ray.data.files.archive import Contents
from revo_ray.data.files.stored_file import MAX_BYTES, Content, StoredFile
from revo_ray.data.image_records import Problem

_CLUTTER = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "@eadir"),
    *("__pycache__", "lost+found"),
}
"""Names, in lower case, of files and folders that systems leave behind."""


@dataclass
class Listing:
    """Files below a root while they are listed; `image_files.ImageFiles` is the result.

    Attributes:
        files: size and content of each file, by path.
        folders: paths of folders.
        problems: images that cannot be used.
    """

    files: dict[str, tuple[int, Content]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: str, size: int, content: Content) -> None:
        """Add a file, unless the listing holds one of that path already."""
        if size > MAX_BYTES and formats.is_image(path):
            cause = f"{size:,} bytes, over the limit of {MAX_BYTES:,}"
            self.problems.append(Problem(path, cause))
        else:
            self.files.setdefault(path, (size, content))

    def add_archive(self, contents: Contents) -> None:
        """Add the entries of an archive whose paths the listing does not hold yet."""
        self.problems += [found for found in contents.problems if found.name not in self.files]
        self.folders.update(contents.folders)
        for path, (size, content) in contents.entries.items():
            self.add(path, size, content)


def list_local(root: str) -> Listing:
    """List a folder of a local disk; a link to a folder that contains the link is left out.

    Raises:
        OSError: a folder cannot be listed; the error's `filename` is its path.
    """
    listing = Listing()
    waiting: list[tuple[str, str, tuple[str, ...]]] = [(root, "", ())]
    while waiting:
        folder, prefix, passed = waiting.pop()
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name, reverse=True)
        while entries:  # each entry holds what `stat` returns: let go of it
            entry = entries.pop()
            path = posixpath.join(prefix, name_as_text(entry.name))
            if is_clutter(entry.name):
                continue
            if not _is_folder(entry):
                _add_local(entry, path, listing)
                continue
            trail = passed  # real paths of the folders whose links were followed to get here
            if entry.is_symlink():
                trail = (*passed, os.path.realpath(folder))
                target = os.path.realpath(entry.path)
                if any(os.path.commonpath([target, path]) == target for path in trail):
                    continue
            listing.folders.add(path)
            waiting.append((entry.path, path, trail))
    return listing


def list_remote(system: fs.FileSystem, root: str, uri: str) -> Listing:
    """List a folder of a remote file system.

    Raises:
        OSError: the folder cannot be listed.
    """
    listing = Listing()
    for info in system.get_file_info(fs.FileSelector(root, recursive=True)):
        path = info.path[len(root) :].strip("/")
        if info.type == fs.FileType.File and not info.path.endswith("/"):
            listing.add(path, info.size, StoredFile.remote(system, info, uri))
        elif path:  # an object store may hold an empty object for a folder
            listing.folders.add(path)
    return listing


def name_as_text(name: str) -> str:
    r"""A name on a local disk, of which a byte that is not UTF-8 is written as `\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_clutter(path: str) -> bool:
    """Whether a part of the path is hidden, or is a name that systems leave behind."""
    return any(
        (part.startswith(".") and part != "..") or part.lower() in _CLUTTER
        for part in path.split("/")
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that may not be read
        return False


def _add_local(entry: os.DirEntry[str], path: str, listing: Listing) -> None:
    try:
        status = entry.stat()
    except OSError as error:
        cause = "a broken symbolic link" if entry.is_symlink() else decode.explain(error)
    else:
        if stat.S_ISREG(status.st_mode) and path not in listing.files:
            listing.add(path, status.st_size, StoredFile.on_disk(entry.path, status))
            return
        cause = "no regular file"
        if path in listing.files:
            cause = "two files whose names differ in bytes that are no UTF-8"
    if formats.is_image(path):
        listing.problems.append(Problem(path, cause))
