"""A folder on any file system that pyarrow opens: local, NFS or an object store."""

from __future__ import annotations

import builtins  # `Storage.list` hides its own
import copy
import os
import posixpath
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar, cast
from urllib.parse import parse_qsl, unquote

import pyarrow as pa
from pyarrow import fs

from revo_ray.errors import UserError

T = TypeVar("T")

ATTEMPTS = 3
"""Of a request to S3; each waits some 9 seconds for a server that says nothing."""
PATIENCE_SECONDS = 8.0
"""For a server that refuses connections."""
SMALL_BYTES = 2**20
READERS = 16
"""Files that are read at once from an object store."""

TEMPORARY = ".tmp"
"""How a file ends that is not whole yet."""

SECRET = re.compile(
    "secret|passw|pwd|token|credential|signature|^sig$|(access|account|api)[-_]?key", re.IGNORECASE
)
"""Names of options that hold a secret."""


def refuse_credentials(uri: str, key: str) -> None:
    """Refuse a URI with a password or an access key in it; the error does not repeat it.

    Args:
        uri: a path or URI.
        key: the configuration key that has it.

    Raises:
        UserError: naming the key.
    """
    if holds_credentials(uri):
        raise UserError(
            "holds credentials; leave them out of the URI and set environment variables "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what the storage's own tools read)",
            key=key,
        )


def holds_credentials(uri: str) -> bool:
    """Whether a URI has a `user:password@`, or an option such as `secret_key=`, in it."""
    scheme, separator, rest = unquote(uri).partition("://")
    if not separator:
        return False
    server, _, path = rest.partition("/")
    # The slash may stand in the password: s3://KEY:a/b@bucket.
    has_port = scheme in ("hdfs", "viewfs") and bool(re.fullmatch(r"([^:@]*@)?[^:@]*:\d+", server))
    if ":" in server and "@" in server + path and not has_port:
        return True
    _, _, query = uri.partition("?")
    return any(
        SECRET.search(name) or re.search(":[^/]*@", value)
        for name, value in parse_qsl(query, keep_blank_values=True)
    )


class Storage:
    """Files below one root, by relative POSIX path; every write is whole or absent.

    Args:
        uri: a path or URI that `pyarrow.fs` opens; a relative path is below the working folder.

    Raises:
        UserError: no file system can open it, or it holds credentials.
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

    def child(self, name: str) -> Storage:
        """The folder of that name below this one; it need not exist."""
        made = copy.copy(self)
        made._root = posixpath.join(self._root, name)
        path, query, options = self.uri.partition("?")  # s3://bucket/folder?region=…
        made.uri = posixpath.join(path, name) + query + options
        return made

    @property
    def parent(self) -> Storage | None:
        """The folder that this one is in; None for a bucket or the root of a disk."""
        above = posixpath.dirname(self._root.rstrip("/"))
        path, query, options = self.uri.partition("?")
        if not above.strip("/"):
            return None
        made = copy.copy(self)
        made._root, made.uri = above, posixpath.dirname(path.rstrip("/")) + query + options
        return made

    @property
    def local(self) -> Path | None:
        """The root as a local path, or None where it is not on a local or mounted disk."""
        return Path(self._root) if isinstance(self._fs, fs.LocalFileSystem) else None

    def write(self, path: str, content: bytes) -> None:
        """Write a file whole: a reader sees all of it, or what was there before.

        Raises:
            OSError: the storage is full, read-only or unreachable.
        """
        target = self._path(path)
        if self.local is None:
            # In a thread of its own, where no signal can raise: whatever ends a `with` of a
            # stream, the object store then has what was written until then.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(self._put, target, content).result()
            return
        folder = os.path.dirname(target)
        os.makedirs(folder, exist_ok=True)
        # Of a name that nobody takes for a row, or TensorBoard for one of its files.
        temporary = f"{folder}/.{uuid.uuid4().hex}{TEMPORARY}"
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(folder)

    def extend(self, path: str, content: bytes, size: int) -> None:
        """Write a file of which the first `size` bytes stand, without taking it from its readers.

        On a disk the rest is added to the file, without waiting until it lasts: for what can be
        made again. An object store, which cannot add to one, gets all of it.

        Raises:
            OSError: the storage is full, read-only or unreachable.
        """
        if self.local is not None:
            with suppress(FileNotFoundError), open(self._path(path), "r+b") as file:
                file.seek(size)
                file.write(content[size:])
                return
        self.write(path, content)

    def sweep(self, path: str = "") -> None:
        """Delete what writes left in a folder whose process was killed; nobody may write there."""
        for name in self.list(path) if self.local else []:
            if name.startswith(".") and name.endswith(TEMPORARY):
                self.delete(posixpath.join(path, name))

    def _put(self, target: str, content: bytes) -> None:
        system = (len(content) < SMALL_BYTES and self._small_fs) or self._fs

        def put() -> None:
            with system.open_output_stream(target) as stream:  # object stores put atomically
                stream.write(content)

        _patiently(put)

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: it does not exist.
            OSError: it cannot be read.
        """

        def get() -> bytes:
            with self._fs.open_input_file(self._path(path)) as file:
                return bytes(file.read())

        return get() if self.local else _patiently(get)

    def read_many(self, paths: Sequence[str]) -> builtins.list[bytes]:
        """The contents of many files, in their order; those of an object store at once.

        Raises:
            FileNotFoundError: one does not exist.
            OSError: one cannot be read.
        """
        if self.local:
            return [self.read(path) for path in paths]
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self.read, paths))

    def read_head(self, path: str, size: int, offset: int = 0) -> bytes:
        """At most `size` bytes from `offset` on, without reading the rest."""
        with _as_os_error(), self._fs.open_input_file(self._path(path)) as file:
            file.seek(offset)
            return bytes(file.read(size))

    def open(self, path: str) -> BinaryIO:
        """A file to read in parts, and to close.

        Raises:
            FileNotFoundError: it does not exist.
        """
        with _as_os_error():
            return cast(BinaryIO, self._fs.open_input_file(self._path(path)))

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file of any size; one that was cut short is smaller than its source.

        Raises:
            OSError: the storage is full or unreachable.
        """
        with _as_os_error():
            fs.copy_files(str(source), self._path(path), fs.LocalFileSystem(), self._fs)

    def size(self, path: str) -> int | None:
        """The size of a file in bytes; None where there is none."""
        with _as_os_error():
            size: int | None = self._fs.get_file_info(self._path(path)).size
        return size

    def exists(self, path: str = "") -> bool:
        """Whether there is a file or a folder of that name."""
        with _as_os_error():
            return self._fs.get_file_info(self._path(path)).type != fs.FileType.NotFound

    def list(self, path: str = "") -> builtins.list[str]:
        """The names in a folder, sorted; empty where it does not exist."""
        selector = fs.FileSelector(self._path(path), allow_not_found=True)
        with _as_os_error():
            return sorted(info.base_name for info in self._fs.get_file_info(selector))

    def move(self, source: str, target: str) -> None:
        """Rename a file over another: at once on a disk, a copy and a delete in object stores."""
        if self.local is not None:
            os.makedirs(os.path.dirname(self._path(target)), exist_ok=True)
        with _as_os_error():
            self._fs.move(self._path(source), self._path(target))

    def delete(self, path: str) -> None:
        """Delete a file; nothing where there is none."""
        with suppress(FileNotFoundError), _as_os_error():
            self._fs.delete_file(self._path(path))

    def _path(self, path: str) -> str:
        return posixpath.join(self._root, path) if path else self._root


def _bounded(system: fs.S3FileSystem) -> tuple[fs.S3FileSystem, fs.S3FileSystem]:
    """The same with less patience: Arrow's own waits 100 seconds for a server that is silent.

    The second is for small files, which it puts with one request in place of three. Where the
    first request of a large one fails, it would leave an empty file.
    """
    _, (options,) = system.__reduce__()  # a URI has no such options, and no property tells others
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
    options = options | {"retry_strategy": retries}
    return fs.S3FileSystem(**options), fs.S3FileSystem(**options | {"allow_delayed_open": True})


def _patiently(call: Callable[[], T]) -> T:
    """Call it again where a server cannot be reached, for as long as one needs to start again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with _as_os_error():
                return call()
        except OSError as error:
            if "NETWORK_CONNECTION" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Whatever a file system raises, as an OSError of one line."""
    try:
        yield
    except OSError as error:
        if len(str(error).splitlines()) > 1:
            raise OSError(" ".join(str(error).split())) from None
        raise
    except pa.ArrowException as error:
        raise OSError(" ".join(str(error).split())) from None


def _sync_folder(folder: str) -> None:
    """Make the names in a folder last, as `fsync` makes the content of a file."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
