"""Reads and writes files on any file system that pyarrow opens: local, NFS, an object store."""

from __future__ import annotations

import builtins  # `Storage.list` hides its own
import copy
import os
import posixpath
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import pyarrow as pa
from pyarrow import fs

from revo_ray.credentials import refuse_credentials
from revo_ray.errors import UserError
from revo_ray.s3_create import ATTEMPTS, NotSupportedError
from revo_ray.s3_create import create as create_in_s3
from revo_ray.uris import divided, refuse_odd
from revo_ray.whole_file import TEMPORARY, place_once, replacing

T = TypeVar("T")

ABANDONED_SECONDS = 3600.0
"""Age after which a temporary file counts as left by a killed process, where no lock says so."""

PATIENCE_SECONDS = 8.0
"""Time in which a server that refuses connections is tried again."""
SMALL_BYTES = 2**20
"""Smaller files go to an object store in one request."""
READERS = 16
"""Number of files that are read from an object store at the same time."""


class Storage:
    """Reads and writes files below one root folder. A reader never sees half a write.

    Paths of files are relative to the root, with `/` between their parts. The root may be a
    symbolic link. A folder below it may be read through a link; to write, move or delete there is
    a UserError.

    Args:
        uri: a path or URI that `pyarrow.fs` opens. A relative path starts at the working folder.

    Raises:
        UserError: no file system can open it, it holds credentials or control characters, or it is
            too long.
    """

    def __init__(self, uri: str) -> None:
        refuse_credentials(uri, "storage")
        self._small_fs: fs.FileSystem | None = None
        try:
            if "://" in uri:
                self._fs, self._root = fs.FileSystem.from_uri(uri)
                if self._fs.type_name == "s3":
                    self._fs, self._small_fs = _bounded(self._fs)
            else:
                self._fs, self._root = (
                    fs.LocalFileSystem(),
                    os.path.abspath(os.path.expanduser(uri)),
                )
        except (ValueError, OSError, pa.ArrowException) as error:
            raise UserError(f"cannot open {uri!r}: {error}", key="storage") from None
        self.uri = uri if "://" in uri else self._root
        refuse_odd(self.uri, "storage")
        self._top = self._root
        """The folder below which no link is followed: `child` keeps its parent's."""

    @property
    def as_root(self) -> Storage:
        """The same folder, which may be a link even if the folder above may hold none."""
        made = copy.copy(self)
        made._top = made._root
        return made

    def child(self, name: str) -> Storage:
        """The folder `name` below this one. It need not exist."""
        made = copy.copy(self)
        made._root = posixpath.join(self._root, name)
        place, options = divided(self.uri)
        made.uri = posixpath.join(place, name) + options
        return made

    @property
    def parent(self) -> Storage | None:
        """The folder above this one; None for a bucket or the root of a disk."""
        above = posixpath.dirname(self._root.rstrip("/"))
        place, options = divided(self.uri)
        if not above.strip("/"):
            return None
        made = copy.copy(self)
        made._root = made._top = above
        made.uri = posixpath.dirname(place.rstrip("/")) + options
        return made

    @property
    def local(self) -> Path | None:
        """The root as a path on a local or mounted disk; None for an object store."""
        return Path(self._root) if isinstance(self._fs, fs.LocalFileSystem) else None

    def write(self, path: str, content: bytes) -> None:
        """Write a file at once: a reader sees the new content or the old, never a part.

        Raises:
            OSError: the storage is full, read-only or unreachable.
        """
        target = self._own(path)
        if self.local is None:
            # An exception inside `with stream` would still store the bytes written so far. Signal
            # handlers raise in the main thread only, so the stream gets a thread of its own.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(self._put, target, content).result()
            return
        self._put_on_disk(target, content, os.replace)

    def create(self, path: str, content: bytes) -> bytes:
        """Write a file that is not there; returns the file's content, another's if that was first.

        A disk refuses to replace the file, and so does S3 if boto3 is installed. Other object
        stores, and disks without hard links, are asked before the write, so a process that is
        suspended in between replaces it.

        Raises:
            OSError: the storage is full, read-only or unreachable.
        """
        target = self._own(path)
        if self.local is not None:
            try:
                self._put_on_disk(target, content, place_once)
            except FileExistsError:
                if os.path.exists(target):
                    return self.read(path)
                self.write(path, content)  # over a link that leads nowhere
            return content
        with suppress(NotSupportedError), ThreadPoolExecutor(1) as pool:  # as in `write`
            made = pool.submit(self._create, target, content).result()
            return content if made else self.read(path)
        with suppress(FileNotFoundError):
            return self.read(path)
        self.write(path, content)
        return content

    def extend(self, path: str, content: bytes, size: int) -> None:
        """Append to a file that readers hold open: its first `size` bytes are stored already.

        A disk gets the other bytes, without `fsync`, so use it for files that can be made again.
        Object stores cannot append; they get the whole file.

        Args:
            path: the file.
            content: all bytes of the file, old and new.
            size: how many of them are stored.

        Raises:
            OSError: the storage is full, read-only or unreachable.
        """
        target = self._own(path)
        if self.local is not None and not os.path.islink(target):
            with suppress(FileNotFoundError), open(target, "r+b") as file:
                file.seek(size)
                file.write(content[size:])
                return
        self.write(path, content)

    def delete_leftovers(self, path: str = "", *, below: bool = False, age: float = 0.0) -> None:
        """Delete files that killed processes left half-written.

        Args:
            path: a folder.
            below: look in its folders, too.
            age: seconds since a file was last changed; 0 if nobody else may be writing there.
        """
        self._own(posixpath.join(path, TEMPORARY))
        if self.local is None:
            return
        for pattern in (f".*{TEMPORARY}", f"*/.*{TEMPORARY}")[: 1 + below]:
            for file in (self.local / path).glob(pattern):
                with suppress(FileNotFoundError):  # whole, and renamed
                    if not age or time.time() - file.lstat().st_mtime > age:
                        self.delete(file.relative_to(self.local).as_posix())

    def _put_on_disk(
        self, target: str, content: bytes, place: Callable[[str, str], object]
    ) -> None:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with replacing(target, place) as temporary, open(temporary, "wb") as file:
            file.write(content)

    def _put(self, target: str, content: bytes) -> None:
        system = (len(content) < SMALL_BYTES and self._small_fs) or self._fs

        def put() -> None:
            with system.open_output_stream(target) as stream:  # object stores put a file atomically
                stream.write(content)

        _patiently(put)

    def _create(self, target: str, content: bytes) -> bool:
        if self._fs.type_name != "s3":
            raise NotSupportedError
        _, (options,) = self._fs.__reduce__()
        return _patiently(lambda: create_in_s3(options, target, content))

    def read(self, path: str) -> bytes:
        """Read a file.

        Raises:
            FileNotFoundError: the file does not exist.
            OSError: the file cannot be read.
        """

        def get() -> bytes:
            with self._fs.open_input_file(self._source(path)) as file:
                return bytes(file.read())

        return get() if self.local else _patiently(get)

    def read_many(self, paths: Sequence[str]) -> builtins.list[bytes]:
        """Read many files, in their order. An object store serves several at the same time.

        Raises:
            FileNotFoundError: a file does not exist.
            OSError: a file cannot be read.
        """
        if self.local:
            return [self.read(path) for path in paths]
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self.read, paths))

    def read_head(self, path: str, size: int, offset: int = 0) -> bytes:
        """Read at most `size` bytes from `offset` on."""
        with _as_os_error(), self._fs.open_input_file(self._source(path)) as file:
            file.seek(offset)
            return bytes(file.read(size))

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading in parts. The caller closes it.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        with _as_os_error():
            return cast(BinaryIO, self._fs.open_input_file(self._source(path)))

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file of any size. A copy that was cut short is smaller than its source.

        Raises:
            OSError: the storage is full or unreachable.
        """
        with _as_os_error():
            fs.copy_files(str(source), self._path(path), fs.LocalFileSystem(), self._fs)

    def download(self, path: str, target: Path) -> None:
        """Copy a file, or a folder with all that is in it, to a local path.

        Raises:
            FileNotFoundError: there is no such file or folder.
            OSError: the storage is unreachable.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with _as_os_error():
            fs.copy_files(self._path(path), str(target), self._fs, fs.LocalFileSystem())

    def size(self, path: str) -> int | None:
        """The size of a file in bytes; None if there is no such file."""
        with _as_os_error():
            size: int | None = self._fs.get_file_info(self._path(path)).size
        return size

    def exists(self, path: str = "") -> bool:
        """Whether there is a file or a folder of that name."""
        with _as_os_error():
            return self._fs.get_file_info(self._path(path)).type != fs.FileType.NotFound

    def list(self, path: str = "") -> builtins.list[str]:
        """The names in a folder, sorted; empty if there is no such folder."""
        selector = fs.FileSelector(self._path(path), allow_not_found=True)
        with _as_os_error():
            return sorted(info.base_name for info in self._fs.get_file_info(selector))

    def move(self, source: str, target: str) -> None:
        """Rename a file, over another if there is one. Object stores copy, then delete."""
        old, new = self._own(source), self._own(target)
        if self.local is not None:
            os.makedirs(os.path.dirname(new), exist_ok=True)
        with _as_os_error():
            self._fs.move(old, new)

    def copy(self, source: str, target: str) -> None:
        """Copy a file, over another if there is one; a reader sees the whole copy or the old file.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: the storage is full or unreachable.
        """
        old, new = self._own(source), self._own(target)
        if self.local is None:
            with _as_os_error():
                self._fs.copy_file(old, new)
            return
        folder = os.path.dirname(new)
        os.makedirs(folder, exist_ok=True)
        with replacing(new) as temporary:
            shutil.copyfile(old, temporary)

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""
        target = self._own(path)
        with suppress(FileNotFoundError), _as_os_error():
            self._fs.delete_file(target)

    def own_path(self, path: str) -> Path | None:
        """A local path for a library that opens its files itself; None for an object store.

        Raises:
            UserError: it is a link, or a link leads there.
        """
        target = self._own(path)
        if self.local is None:
            return None
        _refuse_link(target)
        return Path(target)

    def _source(self, path: str) -> str:
        """The path of a file to read; a pipe would never end, and a device need not."""
        found = self._path(path)
        if self.local is not None:
            mode = 0
            with suppress(OSError):  # said better when it is opened
                mode = os.stat(found).st_mode
            if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise OSError(f"{found} is no regular file")
        return found

    def _path(self, path: str) -> str:
        return posixpath.join(self._root, path) if path else self._root

    def _own(self, path: str) -> str:
        """The path of a file to change, which no link leads to."""
        target = self._path(path)
        folder = posixpath.dirname(target)
        while self.local is not None and len(folder) > len(self._top):
            _refuse_link(folder)
            folder = posixpath.dirname(folder)
        return target


def _refuse_link(place: str) -> None:
    if os.path.islink(place):
        raise UserError(
            f"{place} is a link, and what is in it would be deleted or replaced; remove it, or "
            "put a folder there"
        )


def _bounded(system: fs.S3FileSystem) -> tuple[fs.S3FileSystem, fs.S3FileSystem]:
    """Two file systems like this one with fewer retries: Arrow waits 100 seconds by default.

    The first is for large files. The second writes a small file in one request instead of three;
    it would leave an empty file if the first request of a large one failed.
    """
    _, (options,) = system.__reduce__()  # a URI cannot set retries, and no property reads options
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
    options = options | {"retry_strategy": retries}
    return fs.S3FileSystem(**options), fs.S3FileSystem(**options | {"allow_delayed_open": True})


def _patiently(call: Callable[[], T]) -> T:
    """Repeat a call while its server cannot be reached, long enough for a restart."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with _as_os_error():
                return call()
        except OSError as error:
            lost = isinstance(error, ConnectionError) or "NETWORK_CONNECTION" in str(error)
            if not lost or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Turn the errors of all file systems into OSErrors of one line."""
    try:
        yield
    except OSError as error:
        if len(str(error).splitlines()) > 1:
            raise OSError(" ".join(str(error).split())) from None
        raise
    except pa.ArrowException as error:
        raise OSError(" ".join(str(error).split())) from None
