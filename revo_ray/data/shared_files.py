"""One file on every machine of a cluster: shared once, copied once a machine."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from revo_ray.data.table.disk import exclusive, replacing, sweep
from revo_ray.data.table.image_table import Table
from revo_ray.errors import UserError
from revo_ray.storage import Storage

CACHE = "REVO_RAY_CACHE"
"""The environment variable that names a machine's own cache folder."""
TABLES = ".tables"
"""The folder of image tables in a storage."""
_CHUNK_BYTES = 2**22


@dataclass(frozen=True)
class SharedFile:
    """Where the machines of a cluster find a file; plain values, which travel with every trial.

    Attributes:
        what: what messages call it.
        path: on the machine that made it.
        storage: URI of a storage that all machines reach.
        name: the file's path there, `.KIND/NAME`.
        size: in bytes.
        sha256: of the whole file, in hexadecimal.
    """

    what: str
    path: str
    storage: str
    name: str
    size: int
    sha256: str

    @property
    def copy(self) -> Path:
        """Where this machine keeps its copy, if it did not make the file."""
        name = PurePosixPath(self.name)
        return cache_folder(str(name.parent)) / f"{self.sha256}{name.suffix}"


def cache_folder(kind: str = TABLES) -> Path:
    """Where this machine keeps copies: on a disk of its own, if it has one.

    Args:
        kind: the folder of such files in a storage.
    """
    chosen = os.environ.get(CACHE)
    root = Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "revo_ray"
    return root / kind.removeprefix(".")


def making_folder(storage: Storage, kind: str) -> Path:
    """Where files to share are made: in `storage`, or in the cache where that is not on a disk."""
    return storage.local / kind if storage.local else cache_folder(kind)


def tables_folder(storage: str) -> Path:
    """Where image tables are prepared.

    Args:
        storage: the configuration's, a path or URI.
    """
    return making_folder(Storage(storage), TABLES)


def share_table(table: Table, storage: Storage) -> SharedFile:
    """Put a table where the other machines find it.

    Raises:
        OSError: the storage is full or unreachable.
    """
    # With its checksum: another machine's decoder may have made other bytes of the same images.
    remote = f"{table.path.stem}-{table.sha256[:16]}{table.path.suffix}"
    name = f"{TABLES}/{table.path.name if storage.local else remote}"
    return share("image table", table.path, table.sha256, storage, name)


def share(what: str, path: Path, sha256: str, storage: Storage, name: str) -> SharedFile:
    """Put a file where the other machines find it; on a storage that is a disk it is there.

    Args:
        what: what messages call it.
        path: in `making_folder`.
        sha256: of its content.
        storage: one that all machines reach.
        name: where it is or shall be there, `.KIND/NAME`.

    Raises:
        OSError: the storage is full or unreachable.
    """
    size = path.stat().st_size
    if not storage.local and storage.size(name) != size:
        storage.upload(path, name)
    return SharedFile(what, str(path), storage.uri, name, size, sha256)


def fetch(shared: SharedFile) -> Path:
    """This machine's copy of a file; the first process makes it, and the others wait.

    Raises:
        UserError: the storage does not have the file, has another one, or the disk is full.
    """
    copy = shared.copy
    try:
        if not _is_whole(copy, shared):
            copy.parent.mkdir(parents=True, exist_ok=True)
            sweep(copy.parent)
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
    """Its content was checked when it was copied, and its name is its checksum."""
    try:
        return copy.stat().st_size == shared.size
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
