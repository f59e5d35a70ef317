"""Share a file with the machines of a cluster; each machine copies it once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from revo_ray.data.table.disk import (
    cache_root,
    delete_leftovers,
    exclusive,
    file_sha256,
    make_cache,
    replacing,
)
from revo_ray.data.table.image_table import Table
from revo_ray.errors import UserError
from revo_ray.storage import Storage

TABLES = ".tables"
"""Folder of image tables in a storage."""
_CHUNK_BYTES = 2**22


@dataclass(frozen=True)
class SharedFile:
    """A file that the machines of a cluster can copy; sent with every trial.

    Attributes:
        what: name of this kind of file in messages, such as "image table".
        path: path on the machine that made the file.
        storage: URI of a storage that all machines reach.
        name: path of the file in that storage, `.KIND/NAME`.
        size: size in bytes.
        sha256: SHA-256 of the whole file in hexadecimal.
    """

    what: str
    path: str
    storage: str
    name: str
    size: int
    sha256: str

    @property
    def copy(self) -> Path:
        """Path of this machine's copy in its cache."""
        name = PurePosixPath(self.name)
        return cache_folder(str(name.parent)) / f"{self.sha256}{name.suffix}"


def cache_folder(kind: str = TABLES) -> Path:
    """Folder for this machine's copies of the files that a storage holds in the folder `kind`."""
    return cache_root() / kind.removeprefix(".")


def making_folder(storage: Storage, kind: str) -> Path:
    """Folder for making files to share: in `storage` if it is a disk, else in the cache.

    Raises:
        UserError: it is a link.
    """
    return storage.own_path(kind) or cache_folder(kind)


def tables_folder(storage: str) -> Path:
    """Folder in which image tables are prepared, for a configured storage (path or URI)."""
    return making_folder(Storage(storage), TABLES)


def share_table(table: Table, storage: Storage) -> SharedFile:
    """Upload a table for the other machines, unless the storage is a disk that they share.

    Raises:
        OSError: the storage is full or unreachable.
    """
    # Decoders of two machines may make different tables of the same images: add the checksum.
    remote = f"{table.path.stem}-{table.sha256[:16]}{table.path.suffix}"
    name = f"{TABLES}/{table.path.name if storage.local else remote}"
    return share("image table", table.path, table.sha256, storage, name)


def share(what: str, path: Path, sha256: str, storage: Storage, name: str) -> SharedFile:
    """Upload a file for the other machines, unless the storage is a disk that they share.

    Args:
        what: name of this kind of file in messages.
        path: path of the file, in `making_folder`.
        sha256: SHA-256 of the content.
        storage: storage that all machines reach.
        name: path of the file in the storage, `.KIND/NAME`.

    Raises:
        OSError: the storage is full or unreachable.
    """
    size = path.stat().st_size
    if not storage.local and storage.size(name) != size:
        storage.upload(path, name)
    return SharedFile(what, str(path), storage.uri, name, size, sha256)


def original(shared: SharedFile) -> Path:
    """Return the file on the machine that made it.

    Raises:
        UserError: it is no longer the file that was shared.
        OSError: it cannot be read.
    """
    path = Path(shared.path)
    if not _is_whole(path, shared):
        raise UserError(
            f"the {shared.what} {shared.path!r} is not the one that this search began with; start "
            "the search again with --resume",
            key="storage",
        )
    return path


def fetch(shared: SharedFile) -> Path:
    """Return this machine's copy of a file; the first process makes it, and others wait.

    Raises:
        UserError: the storage lacks the file or holds another, or the disk is full.
    """
    copy = shared.copy
    try:
        if not _is_whole(copy, shared):
            make_cache()
            copy.parent.mkdir(parents=True, exist_ok=True)
            delete_leftovers(copy.parent)
            with exclusive(copy.with_suffix(".lock")):
                if not _is_whole(copy, shared):
                    _copy(shared, copy)
    except FileNotFoundError:
        raise UserError(
            f"no {shared.what} {shared.path!r} on this machine, and no {shared.name!r} in "
            f"{shared.storage!r}; the machines of a cluster must share the disk that holds "
            "storage, or use an object store (s3://…)",
            key="storage",
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot copy the {shared.what} {shared.name!r} from {shared.storage!r} to "
            f"{str(copy.parent)!r}: {error}",
            key="storage",
        ) from None
    return copy


def _is_whole(copy: Path, shared: SharedFile) -> bool:
    """Whether a copy has the content of the file; each process reads a copy once."""
    try:
        return copy.stat().st_size == shared.size and file_sha256(copy) == shared.sha256
    except FileNotFoundError:
        return False


def _copy(shared: SharedFile, copy: Path) -> None:
    digest = hashlib.sha256()
    with replacing(copy) as temporary:
        with Storage(shared.storage).open(shared.name) as source, temporary.open("wb") as target:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != shared.sha256:
            raise UserError(
                f"the {shared.what} {shared.name!r} in {shared.storage!r} is not the one that this "
                f"search began with (SHA-256 {digest.hexdigest()}, not {shared.sha256}); start "
                "the search again with --resume",
                key="storage",
            )
