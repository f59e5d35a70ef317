"""The files below a folder or in a zip archive, wherever that is, in one form."""

from __future__ import annotations

import os
import posixpath
import re
import stat
import zipfile
from dataclasses import dataclass, field, replace

import pyarrow as pa
from PIL import Image
from pyarrow import fs

from revo_ray.data.files import decode
from revo_ray.data.files.archive import read_directory
from revo_ray.data.files.listing import (
    Content,
    Listing,
    Stored,
    is_clutter,
    list_local,
    list_remote,
)
from revo_ray.data.records import Problem
from revo_ray.errors import UserError


@dataclass(frozen=True, slots=True)
class File:
    r"""A file of a tree; also a `records.Picture`.

    Attributes:
        path: below the tree's root, with slashes; bytes that are no UTF-8 stand as `\xff`.
        size: in bytes.
    """

    path: str
    size: int
    _content: Content = field(repr=False)

    @property
    def stamp(self) -> str | None:
        """Changes when the content may have; None: `digest` reads nothing."""
        return self._content.stamp

    def digest(self) -> str:
        """A hash of the content: from the directory of an archive, else of the bytes.

        Raises:
            OSError: it cannot be read.
        """
        return self._content.digest()

    def read(self) -> bytes:
        """The content; safe in many threads at once.

        Raises:
            OSError: it cannot be read, is damaged, or larger than `archive.MAX_BYTES`.
        """
        return self._content.read()

    def open(self) -> Image.Image:
        """The image; raises what `read` and `decode.open_image` raise."""
        return decode.open_image(self.read())


@dataclass(frozen=True)
class Tree:
    """The files below a root.

    Attributes:
        files: sorted by path, without hidden ones and what systems leave behind.
        folders: all folders below the root as `a`, `a/b`, sorted, the empty ones too.
        problems: images that cannot be used, and entries of archives that are refused; sorted.
    """

    files: tuple[File, ...]
    folders: tuple[str, ...]
    problems: tuple[Problem, ...]

    @classmethod
    def open(cls, uri: str, *, unpack: bool = False) -> Tree:
        """List a folder or a zip archive; no file is read.

        Symbolic links on a local disk are followed, but for those to a folder that holds them;
        those in an archive are refused.

        Args:
            uri: a local path, with `~` if need be, or a URI that `pyarrow.fs` opens.
            unpack: count the zip archives in a folder as unpacked beside themselves; a file that
                is there already wins.

        Raises:
            UserError: it does not exist or cannot be listed, or an archive is damaged.
        """
        try:
            listing = _list(uri)
            if unpack:
                _unpack(listing)
        except UserError:
            raise
        except Exception as error:
            known = isinstance(error, OSError | ValueError | pa.ArrowException)
            if not known and "://" not in uri:  # a remote file system raises what it likes
                raise
            where = getattr(error, "filename", None) or uri
            reason = decode.explain(error) if isinstance(error, OSError) else error
            raise _error(f"cannot read {where!r}: {reason}") from None
        return _tree(listing)

    def below(self, folder: str) -> Tree:
        """The subtree of a folder, with paths relative to it; empty where there is none."""
        start = folder.strip("/") + "/"
        if start == "/":
            return self
        cut = len(start)
        return Tree(
            tuple(replace(f, path=f.path[cut:]) for f in self.files if f.path.startswith(start)),
            tuple(name[cut:] for name in self.folders if name.startswith(start)),
            tuple(Problem(n[cut:], cause) for n, cause in self.problems if n.startswith(start)),
        )

    def images(self) -> tuple[File, ...]:
        """The files whose names end as those of images do that can be read."""
        return tuple(file for file in self.files if decode.is_image(file.path))

    def find(self, *names: str) -> File | None:
        """The shallowest file, then the first by path, that has one of these names in any case."""
        wanted = {name.casefold() for name in names}
        found = [f for f in self.files if posixpath.basename(f.path).casefold() in wanted]
        return min(found, key=lambda file: file.path.count("/"), default=None)


def _list(uri: str) -> Listing:
    """The folder's files, or the archive's entries."""
    if "://" in uri:
        system, root = fs.FileSystem.from_uri(uri)
        root = root.rstrip("/")
    else:
        system, root = fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(uri))
    if isinstance(system, fs.LocalFileSystem):
        system = None
        kind = _local_kind(root)
    else:
        kind = system.get_file_info(root).type
    if kind == fs.FileType.NotFound:
        raise _error(f"no such folder or zip archive {uri!r}")
    if kind == fs.FileType.Directory:
        return list_local(root) if system is None else list_remote(system, root, uri)
    listing = Listing()
    try:
        if kind != fs.FileType.File:
            raise zipfile.BadZipFile("no regular file")
        listing.add_archive(read_directory(Stored(system, root).random_access()))
    except zipfile.BadZipFile as error:
        if root.lower().endswith(".zip"):
            raise _damaged(uri, error) from None
        raise _error(f"{uri!r} is neither a folder nor a zip archive") from None
    return listing


def _local_kind(path: str) -> fs.FileType:
    """What is there, for names too that pyarrow cannot spell."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return fs.FileType.NotFound
    if stat.S_ISDIR(mode):
        return fs.FileType.Directory
    return fs.FileType.File if stat.S_ISREG(mode) else fs.FileType.Unknown


def _unpack(listing: Listing) -> None:
    """Add the entries of the archives that a folder holds; those in archives stay closed."""
    for path in sorted(listing.files):
        _, content = listing.files[path]
        if not path.lower().endswith(".zip") or not isinstance(content, Stored):
            continue
        try:
            contents = read_directory(content.random_access(), posixpath.dirname(path), path)
        except zipfile.BadZipFile as error:
            raise _damaged(path, error) from None
        listing.add_archive(contents)


def _tree(listing: Listing) -> Tree:
    files = sorted(path for path in listing.files if not is_clutter(path))
    folders = {path for path in listing.folders if not is_clutter(path)}
    for path in [*files, *folders]:
        while (path := posixpath.dirname(path)) and path not in folders:
            folders.add(path)
    return Tree(
        files=tuple(File(path, *listing.files[path]) for path in files),
        folders=tuple(sorted(folders)),
        problems=tuple(sorted(p for p in listing.problems if not is_clutter(p.name))),
    )


def _damaged(archive: str, error: Exception) -> UserError:
    return _error(
        f"the zip archive {archive!r} is damaged ({error}); perhaps it was not copied whole"
    )


def _error(message: str) -> UserError:
    """An error whose text tells no password that stood in a URI."""
    return UserError(re.sub("://[^/@]*@", "://…@", message), key="data.root")
