"""The files below a folder or in an archive, on a local disk or a remote file system."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import pyarrow as pa
from PIL import Image
from pyarrow import fs

from revo_ray.data.files import decode, formats
from revo_ray.data.files.archive import (
    ArchiveError,
    RefusedArchiveError,
    is_archive,
    read_directory,
)
from revo_ray.data.files.listing import Listing, is_clutter, list_local, list_remote
from revo_ray.data.files.stored_file import Content, ReadFile, StoredFile
from revo_ray.data.files.uri import open_uri
from revo_ray.data.image_records import Problem
from revo_ray.errors import UserError


@dataclass(frozen=True, slots=True)
class File:
    r"""A file below a root or in an archive; an `image_records.Picture` too.

    Attributes:
        path: path below the root, with slashes; a byte that is not UTF-8 is written as `\xff`.
        size: size in bytes.
    """

    path: str
    size: int
    _content: Content = field(repr=False)

    @property
    def stamp(self) -> str | None:
        """Text that changes whenever the content may have changed; None: `digest` is cheap."""
        return self._content.stamp

    def digest(self) -> str:
        """SHA-256 of the bytes; for an archive's entry its checksum from the archive.

        Raises:
            OSError: the file cannot be read.
        """
        return self._content.digest()

    def read(self) -> bytes:
        """All bytes; many threads may read at once.

        Raises:
            OSError: the file cannot be read, is damaged, or is larger than
                `stored_file.MAX_BYTES`.
        """
        return self._content.read()

    def random_access(self) -> pa.NativeFile:
        """Open the file for reading in parts; an archive's entry is read whole.

        Raises:
            OSError: the file cannot be opened.
        """
        if isinstance(self._content, StoredFile):
            return self._content.random_access()
        return pa.BufferReader(self.read())

    def load(self) -> File:
        """The same file in memory: its `digest` and `open` read nothing more.

        Raises:
            OSError: as `read`.
        """
        return replace(self, _content=ReadFile.of(self._content))

    def open(self) -> Image.Image:
        """Open the image.

        Raises:
            Exception: as `read` and `formats.open_image`.
        """
        return formats.open_image(self.read(), self.path)


@dataclass(frozen=True)
class ImageFiles:
    """All files below a root: images, and what lies beside them.

    Attributes:
        all: files sorted by path, without hidden files and those that systems leave behind.
        folders: sorted paths of all folders below the root, such as `a` and `a/b`; empty ones too.
        problems: images that cannot be used and archive entries that are refused, sorted.
    """

    all: tuple[File, ...]
    folders: tuple[str, ...]
    problems: tuple[Problem, ...]

    @classmethod
    def open(cls, uri: str, *, unpack: bool = False) -> ImageFiles:
        """List a folder, or a zip or tar archive.

        Symbolic links on a local disk are followed, except for a link to a folder that contains
        the link. Symbolic links in an archive are refused.

        Args:
            uri: local path, which may begin with `~`, or a URI that `pyarrow.fs` opens.
            unpack: list the archives in a folder as if they were unpacked where they lie; a
                file that lies there already is used instead of the archive's.

        Raises:
            UserError: nothing lies there, it cannot be listed, or an archive is damaged.
        """
        try:
            listing = _list(uri)
            if unpack:
                _unpack(listing)
        except UserError:
            raise
        except Exception as error:
            expected = isinstance(error, OSError | ValueError | pa.ArrowException)
            if not expected and "://" not in uri:  # remote file systems raise other errors too
                raise
            where = getattr(error, "filename", None) or uri
            reason = decode.explain(error) if isinstance(error, OSError) else error
            raise root_error(f"cannot read {where!r}: {reason}") from None
        return _sorted(listing)

    def below(self, folder: str) -> ImageFiles:
        """The files below a folder, with paths relative to it; none if there is no such folder."""
        start = folder.strip("/") + "/"
        if start == "/":
            return self
        cut = len(start)
        return ImageFiles(
            tuple(replace(f, path=f.path[cut:]) for f in self.all if f.path.startswith(start)),
            tuple(name[cut:] for name in self.folders if name.startswith(start)),
            tuple(Problem(n[cut:], cause) for n, cause in self.problems if n.startswith(start)),
        )

    def without(self, left_out: Callable[[str], bool]) -> ImageFiles:
        """The files whose path is not left out, and the folders that still hold a file.

        Folders that held none before stay, unless their own path is left out.
        """
        kept = tuple(file for file in self.all if not left_out(file.path))
        problems = tuple(problem for problem in self.problems if not left_out(problem.name))
        before = _parents([*(f.path for f in self.all), *(p.name for p in self.problems)])
        after = _parents([*(f.path for f in kept), *(p.name for p in problems)])
        folders = tuple(
            folder
            for folder in self.folders
            if folder in after or not (folder in before or left_out(folder))
        )
        return ImageFiles(kept, folders, problems)

    def images(self) -> tuple[File, ...]:
        """The files whose extension is that of a readable image format."""
        return tuple(file for file in self.all if formats.is_image(file.path))

    def find(self, *names: str) -> File | None:
        """Find a file by name, in any case: the one nearest to the root, then the first by path."""
        wanted = {name.casefold() for name in names}
        found = [f for f in self.all if posixpath.basename(f.path).casefold() in wanted]
        return min(found, key=lambda file: file.path.count("/"), default=None)


def _list(uri: str) -> Listing:
    """List the files of a folder or the entries of an archive."""
    system, root = open_uri(uri)
    if system is None:
        kind = _local_kind(root)
    else:
        root = root.rstrip("/")
        info = system.get_file_info(root)
        kind = info.type
    if kind == fs.FileType.NotFound:
        raise root_error(f"no such folder or archive {uri!r}")
    if kind == fs.FileType.Directory:
        return list_local(root) if system is None else list_remote(system, root, uri)
    listing = Listing()
    try:
        if kind != fs.FileType.File:
            raise ArchiveError("no regular file")
        if system is None:
            archive = StoredFile.on_disk(root, os.stat(root))
        else:
            archive = StoredFile.remote(system, info, uri)
        listing.add_archive(read_directory(archive))
    except RefusedArchiveError as error:
        raise _refused(uri, error) from None
    except ArchiveError as error:
        if is_archive(root):
            raise _damaged(uri, error) from None
        raise root_error(f"{uri!r} is neither a folder nor a zip or tar archive") from None
    return listing


def _local_kind(path: str) -> fs.FileType:
    """Kind of file at a local path, which may hold bytes that pyarrow refuses."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return fs.FileType.NotFound
    if stat.S_ISDIR(mode):
        return fs.FileType.Directory
    return fs.FileType.File if stat.S_ISREG(mode) else fs.FileType.Unknown


def _unpack(listing: Listing) -> None:
    """Add the entries of the archives in a folder; archives within archives stay closed."""
    for path in sorted(listing.files):
        _, content = listing.files[path]
        if not is_archive(path) or not isinstance(content, StoredFile):
            continue
        try:
            contents = read_directory(content, posixpath.dirname(path), path)
        except RefusedArchiveError as error:
            raise _refused(path, error) from None
        except ArchiveError as error:
            raise _damaged(path, error) from None
        listing.add_archive(contents)


def _sorted(listing: Listing) -> ImageFiles:
    """Sort a listing, leave clutter out and add the folders that only paths of files name.

    The listing is emptied: for many images two copies would take much memory.
    """
    files = sorted(path for path in listing.files if not is_clutter(path))
    folders = {path for path in listing.folders if not is_clutter(path)}
    folders |= _parents([*files, *folders])
    return ImageFiles(
        all=tuple(File(path, *listing.files.pop(path)) for path in files),
        folders=tuple(sorted(folders)),
        problems=tuple(sorted(p for p in listing.problems if not is_clutter(p.name))),
    )


def _parents(paths: Iterable[str]) -> set[str]:
    """All folders that hold these paths, at any depth."""
    found: set[str] = set()
    for path in paths:
        while (path := posixpath.dirname(path)) and path not in found:
            found.add(path)
    return found


def _damaged(archive: str, error: Exception) -> UserError:
    return root_error(
        f"the archive {archive!r} is damaged ({error}); perhaps it was not copied whole"
    )


def _refused(archive: str, error: Exception) -> UserError:
    return root_error(f"cannot read the archive {archive!r}: {error}")


def root_error(message: str, key: str = "data.root") -> UserError:
    """An error about `data.root`, or another key, that shows no password of a URI."""
    return UserError(without_password(message), key=key)


def without_password(text: str) -> str:
    """Hide the password that a URI in a text may hold."""
    return re.sub("://[^/@]*@", "://…@", text)
