"""Find the images that a table names by path or URI, and read the table."""

from __future__ import annotations

import os
import posixpath
import stat
import unicodedata
from collections.abc import Hashable, Iterator
from functools import cached_property
from typing import NamedTuple, Protocol
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from revo_ray.credentials import holds_credentials, servers
from revo_ray.data.files.decode import explain
from revo_ray.data.files.image_files import File, ImageFiles, root_error
from revo_ray.data.files.stored_file import StoredFile
from revo_ray.data.files.uri import open_uri, parent
from revo_ray.data.image_records import Picture

MOST_BESIDE = 200_000
"""Number of files near a table that are looked at for a hint."""


class Found(NamedTuple):
    """An image of a table.

    Attributes:
        name: its name in messages.
        key: equal for two names of one file.
        path: path or URI of the image, whose folders may name its group.
        picture: the image.
    """

    name: str
    key: Hashable
    path: str
    picture: Picture


class Lookup(Protocol):
    """Finds the images of a table."""

    def find(self, path: str) -> Found | str:
        """Find the image at a path or URI; return the cause if there is none."""

    def beside(self) -> Iterator[str]:
        """Yield paths of files below the table's folder, without an order."""


def lookup_in(folder: str, pattern: str) -> Lookup:
    """Look images up by their paths relative to a folder, which is not listed if it is local.

    On a local disk paths may be absolute or lead out of the folder. In an object store the folder
    is listed, once. Cells may not name a server (`endpoint_override=`) that neither the folder nor
    the pattern names: it would get the user's credentials.

    Args:
        folder: path or URI of the folder.
        pattern: `data.image_pattern`.

    Raises:
        UserError: the folder's file system cannot be opened.
    """
    system, path = opened(folder)
    uris = _Uris(servers(folder) | servers(pattern))
    return _Local(path, uris) if system is None else _Remote(folder, uris)


def opened(uri: str) -> tuple[fs.FileSystem | None, str]:
    """Open a path or URI as `open_uri` does.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        return open_uri(uri)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise root_error(f"cannot read {uri!r}: {error}") from None


def find_table(uri: str, kind: str) -> File | None:
    """Find the file at a path or URI; None if a folder lies there.

    Args:
        uri: path or URI.
        kind: kind of file that should be there, for messages.

    Raises:
        UserError: nothing lies there, or no regular file.
    """
    system, path = opened(uri)
    name = posixpath.basename(path)
    try:
        if system is None:
            status = os.stat(path)
            if stat.S_ISDIR(status.st_mode):
                return None
            if not stat.S_ISREG(status.st_mode):
                raise root_error(f"{uri!r} is no regular file, and should be {kind}")
            return File(name, status.st_size, StoredFile.on_disk(path, status))
        info = system.get_file_info(path)
    except (FileNotFoundError, NotADirectoryError):
        raise root_error(f"no such file or folder {uri!r}") from None
    except (OSError, ValueError) as error:
        raise root_error(f"cannot read {uri!r}: {explain(error)}") from None
    if info.type == fs.FileType.NotFound:
        raise root_error(f"no such file or folder {uri!r}")
    if info.type != fs.FileType.File:
        return None
    return File(name, info.size, StoredFile.remote(system, info, parent(uri)))


class _Uris:
    """Finds images by URI; each folder is opened and listed once."""

    def __init__(self, named: frozenset[str]) -> None:
        self._named = named
        self._folders: dict[str, dict[str, tuple[fs.FileSystem, fs.FileInfo]] | str] = {}

    def find(self, uri: str) -> Found | str:
        if holds_credentials(uri):
            return "holds credentials; leave them out of the URI"
        if not servers(uri) <= self._named:
            return (
                "names a server; leave that to data.image_pattern, as in '{}?endpoint_override=…'"
            )
        place, _, _ = uri.partition("?")
        if place.startswith("file://"):
            path = place.removeprefix("file://")
            found = _stat(path, place)
            return found or _stat(unquote(path), place) or "no such file"
        folder = parent(uri)
        if folder not in self._folders:
            self._folders[folder] = self._list(folder)
        listed = self._folders[folder]
        if isinstance(listed, str):
            return listed
        base = place.rpartition("/")[2]
        for name in dict.fromkeys((base, unquote(base))):
            if name in listed:
                system, info = listed[name]
                file = File(place, info.size, StoredFile.remote(system, info, folder))
                return Found(place, (folder, name), place, file)
        return "no such file"

    def _list(self, folder: str) -> dict[str, tuple[fs.FileSystem, fs.FileInfo]] | str:
        try:
            system, path = open_uri(folder)
            assert system is not None
            entries = system.get_file_info(fs.FileSelector(path))
        except FileNotFoundError:
            return "no such file"
        except (OSError, ValueError, pa.ArrowException) as error:
            return f"cannot be opened: {explain(error)}"
        return {e.base_name: (system, e) for e in entries if e.type == fs.FileType.File}


class _Local:
    """Finds images relative to a local folder."""

    def __init__(self, folder: str, uris: _Uris) -> None:
        self._folder = folder
        self._uris = uris

    def find(self, path: str) -> Found | str:
        if "://" in path:
            return self._uris.find(path)
        for spelling in _spellings(posixpath.normpath(path)):
            found = _stat(os.path.join(self._folder, spelling), spelling)
            if found is not None:
                return found
        return "no such file"

    def beside(self) -> Iterator[str]:
        seen = 0
        for folder, _, names in os.walk(self._folder):
            relative = os.path.relpath(folder, self._folder).replace(os.sep, "/")
            for name in names:
                seen += 1
                if seen > MOST_BESIDE:
                    return
                yield posixpath.normpath(posixpath.join(relative, name))


class _Remote:
    """Finds images relative to a folder of a remote file system."""

    def __init__(self, folder: str, uris: _Uris) -> None:
        self._folder = folder
        self._uris = uris

    @cached_property
    def _listed(self) -> tuple[dict[str, File], dict[str, str]]:
        files = ImageFiles.open(self._folder)
        return {file.path: file for file in files.all}, dict(files.problems)

    def find(self, path: str) -> Found | str:
        if "://" in path:
            return self._uris.find(path)
        path = posixpath.normpath(path)
        if path.startswith(("/", "../")):
            return "leads out of the table's folder, as only a table on a local disk may"
        files, refused = self._listed
        for spelling in _spellings(path):
            if (file := files.get(spelling)) is not None:
                return Found(file.path, file.path, file.path, file)
            if spelling in refused:
                return refused[spelling]
        return "no such file"

    def beside(self) -> Iterator[str]:
        yield from self._listed[0]


def _stat(place: str, name: str) -> Found | str | None:
    """Look at a local file; return None if there is none, and a cause if it is no regular file."""
    place = os.path.abspath(place)
    try:
        status = os.stat(place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        return explain(error)
    if not stat.S_ISREG(status.st_mode):
        return "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
    # One file has one inode under all its names; some mounted disks have none.
    key = (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(place)
    return Found(name, key, name, File(name, status.st_size, StoredFile.on_disk(place, status)))


def _spellings(path: str) -> list[str]:
    """Spell a path as it stands, with slashes, and in both Unicode forms."""
    slashed = posixpath.normpath(path.replace("\\", "/"))
    forms = [unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")]
    return list(dict.fromkeys([path, slashed, *forms]))
