"""One prepared table on every machine of a cluster: shared once, copied once a machine."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from revo_ray.data.table import Table
from revo_ray.data.tables.disk import exclusive, replacing, sweep
from revo_ray.errors import UserError
from revo_ray.storage import Storage

CACHE = "REVO_RAY_CACHE"
"""The environment variable that names a machine's own cache folder."""
_CHUNK_BYTES = 2**22


@dataclass(frozen=True)
class SharedTable:
    """Where the machines of a cluster find a table; plain values, which travel with every trial.

    Attributes:
        path: on the machine that prepared it.
        storage: URI of a storage that all machines reach.
        name: the table's path there.
        size: in bytes.
        sha256: of the whole file, in hexadecimal.
    """

    path: str
    storage: str
    name: str
    size: int
    sha256: str


def cache_folder() -> Path:
    """Where this machine keeps copies of tables: on a disk of its own, if it has one."""
    chosen = os.environ.get(CACHE)
    root = Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "revo_ray"
    return root / "tables"


def tables_folder(storage: str) -> Path:
    """Where image tables are prepared: in `storage`, or in the cache where that is not on a disk.

    Args:
        storage: the configuration's, a path or URI.
    """
    local = Storage(storage).local
    return local / ".tables" if local else cache_folder()


def share(table: Table, storage: Storage) -> SharedTable:
    """Put a table where the other machines find it; on a storage that is a disk it is there.

    Raises:
        OSError: the storage is full or unreachable.
    """
    size = table.path.stat().st_size
    # With its checksum: another machine's decoder may have made other bytes of the same images.
    name = f".tables/{table.path.stem}-{table.sha256[:16]}.arrow"
    if storage.local:
        name = f".tables/{table.path.name}"
    elif storage.size(name) != size:
        storage.upload(table.path, name)
    return SharedTable(str(table.path), storage.uri, name, size, table.sha256)


def fetch(shared: SharedTable) -> Path:
    """This machine's copy of a table; the first process makes it, and the others wait.

    Raises:
        UserError: the storage does not have the table, has another one, or the disk is full.
    """
    copy = cache_folder() / f"{shared.sha256}.arrow"
    try:
        if not _is_whole(copy, shared):
            copy.parent.mkdir(parents=True, exist_ok=True)
            sweep(copy.parent)
            with exclusive(copy.with_suffix(".lock")):
                if not _is_whole(copy, shared):
                    _copy(shared, copy)
    except FileNotFoundError:
        raise UserError(
            f"no image table {shared.path!r} on this machine, and no {shared.name!r} in "
            f"{shared.storage!r}; the machines of a cluster must share the disk that holds "
            "storage, or use an object store (s3://…)",
            key="storage",
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot copy the image table {shared.name!r} from {shared.storage!r} to "
            f"{str(copy.parent)!r}: {error}",
            key="storage",
        ) from None
    return copy


def _is_whole(copy: Path, shared: SharedTable) -> bool:
    """Its content was checked when it was copied, and its name is its checksum."""
    try:
        return copy.stat().st_size == shared.size
    except FileNotFoundError:
        return False


def _copy(shared: SharedTable, copy: Path) -> None:
    digest = hashlib.sha256()
    with replacing(copy) as temporary:
        with Storage(shared.storage).open(shared.name) as source, temporary.open("wb") as target:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != shared.sha256:
            raise UserError(
                f"the image table {shared.name!r} in {shared.storage!r} is not the one that this "
                f"search began with (SHA-256 {digest.hexdigest()}, not {shared.sha256}); start "
                "the search again with --resume",
                key="storage",
            )
