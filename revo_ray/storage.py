"""A folder on any file system that pyarrow opens: local, NFS or an object store."""

from __future__ import annotations

import copy
import os
import posixpath
import re
import uuid
from pathlib import Path
from typing import BinaryIO, cast

from pyarrow import fs

from revo_ray.errors import UserError


def without_credentials(text: str) -> str:
    """A text without the passwords that URIs in it hold: for files that are read by others."""
    return re.sub(r"://[^/@\s]*@", "://", text)


class Storage:
    """Files below one root, by relative POSIX path; every write is whole or absent.

    Args:
        uri: a path or URI that `pyarrow.fs` opens; a relative path is below the working folder.

    Raises:
        UserError: no file system can open it.
    """

    def __init__(self, uri: str) -> None:
        try:
            if "://" in uri:
                self._fs, self._root = fs.FileSystem.from_uri(uri)
            else:
                self._fs, self._root = (
                    fs.LocalFileSystem(),
                    os.path.abspath(os.path.expanduser(uri)),
                )
        except (ValueError, OSError) as error:
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
            with self._fs.open_output_stream(target) as stream:  # object stores put atomically
                stream.write(content)
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        # Not `.json`: nobody who lists rows may take a torn one for a row.
        temporary = f"{target}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: it does not exist.
            OSError: it cannot be read.
        """
        with self._fs.open_input_file(self._path(path)) as file:
            return bytes(file.read())

    def read_many(self, paths: list[str]) -> list[bytes]:
        """The contents of many files, in their order."""
        return [self.read(path) for path in paths]

    def read_head(self, path: str, size: int, offset: int = 0) -> bytes:
        """At most `size` bytes from `offset` on, without reading the rest."""
        with self._fs.open_input_file(self._path(path)) as file:
            file.seek(offset)
            return bytes(file.read(size))

    def open(self, path: str) -> BinaryIO:
        """A file to read in parts, and to close.

        Raises:
            FileNotFoundError: it does not exist.
        """
        return cast(BinaryIO, self._fs.open_input_file(self._path(path)))

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file of any size; one that was cut short is smaller than its source.

        Raises:
            OSError: the storage is full or unreachable.
        """
        fs.copy_files(str(source), self._path(path), fs.LocalFileSystem(), self._fs)

    def size(self, path: str) -> int | None:
        """The size of a file in bytes; None where there is none."""
        size: int | None = self._fs.get_file_info(self._path(path)).size
        return size

    def exists(self, path: str = "") -> bool:
        """Whether there is a file or a folder of that name."""
        return self._fs.get_file_info(self._path(path)).type != fs.FileType.NotFound

    def list(self, path: str = "") -> list[str]:
        """The names in a folder, sorted; empty where it does not exist."""
        selector = fs.FileSelector(self._path(path), allow_not_found=True)
        return sorted(info.base_name for info in self._fs.get_file_info(selector))

    def move(self, source: str, target: str) -> None:
        """Rename a file over another: at once on a disk, a copy and a delete in object stores."""
        if self.local is not None:
            os.makedirs(os.path.dirname(self._path(target)), exist_ok=True)
        self._fs.move(self._path(source), self._path(target))

    def delete(self, path: str) -> None:
        """Delete a file; nothing where there is none."""
        try:
            self._fs.delete_file(self._path(path))
        except FileNotFoundError:
            pass

    def delete_folder(self) -> None:
        """Delete the root with all that is in it; nothing where there is none."""
        try:
            self._fs.delete_dir(self._root)
        except FileNotFoundError:
            pass

    def _path(self, path: str) -> str:
        return posixpath.join(self._root, path) if path else self._root
