"""A lock that gives a run directory to one process."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from revo_ray.errors import UserError
from revo_ray.rundir.lease import HEARTBEAT, PATIENCE, READ_BACK, Lease, refuse_if_alive
from revo_ray.rundir.ledger import Ledger
from revo_ray.rundir.machine import other_machine, this_machine
from revo_ray.storage import Storage

FILE = ".lock"
MOST_BYTES = 4096
"""Most bytes that are read of a lock file."""
GLANCE = 0.5
"""Seconds to wait for a lock, because `Holder` takes it for an instant."""

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of disks that have no file locks."""


class RunLock:
    """Holds a run directory for this process until it is closed.

    On a local or mounted disk it is a file lock, which the kernel releases when the process ends,
    however it ends. The file names the machine, because some mounted disks keep their locks to one
    machine. Other storages have no file locks and get a `Lease`.

    Args:
        storage: the run directory; created if it does not exist.
        say: called with one line if taking the lock takes long, or if the last holder was on
            another machine and did not end by itself.
        within: lock of the study's folder above. If it is a lease, it covers this folder too, and
            nothing is written here.
        heartbeat, patience, read_back: seconds; see `Lease`.

    Raises:
        UserError: another process holds it, or the storage cannot be written.
    """

    def __init__(
        self,
        storage: Storage,
        say: Callable[[str], None] | None = None,
        *,
        within: RunLock | None = None,
        heartbeat: float = HEARTBEAT,
        patience: float = PATIENCE,
        read_back: float = READ_BACK,
    ) -> None:
        self._file: FileLock | None = None
        self._lease: Lease | None = None
        self._within = within
        self._made: Path | None = None
        """The folder, if it was made here."""
        if storage.local is not None:
            made = not storage.local.exists()
            self._file = _lock_file(storage)
            _tell_of_another(storage, say if within is None else None)
            _write_holder(self._file.lock_file, json.dumps(this_machine()).encode())
            self._made = storage.local if made else None
            return
        try:
            if within is not None:
                refuse_if_alive(storage, say, patience)
                return
            if storage.parent is not None:
                refuse_if_alive(storage.parent, say, patience)
            self._lease = Lease(storage, say, heartbeat, patience, read_back)
        except OSError as error:
            raise UserError(f"cannot write to {storage.uri!r}: {error}", key="storage") from None

    def check(self) -> None:
        """Make sure that the lock is still held; call it before writing a row.

        It reads from the storage only if a lease could not be renewed for a while.

        Raises:
            SearchError: another process has taken the lease over.
            OSError: the storage is unreachable, so nobody knows.
        """
        lease = self._lease or (self._within and self._within._lease)
        if lease:
            lease.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Release the lock. If the search was refused, delete the folder that was made for it."""
        if isinstance(error, UserError) and self._made is not None:
            _delete_without_rows(self._made)
        self.close()

    def close(self) -> None:
        """Release the lock."""
        if self._file is not None:
            _write_holder(self._file.lock_file, b"")
            self._file.release()
            self._file = None
        if self._lease is not None:
            self._lease.close()
            self._lease = None


def _lock_file(storage: Storage) -> FileLock:
    file = storage.own_path(FILE)
    assert file is not None
    folder = file.parent
    # A soft lock would outlive the process that is killed.
    lock = FileLock(
        file, timeout=GLANCE, poll_interval=0.02, thread_local=False, fallback_to_soft=False
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        if not file.exists():  # a refused search deleted it meanwhile
            lock.release()
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        raise UserError(
            f"another search is running in {storage.uri}; wait for it or stop it"
        ) from None
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise UserError(
                f"{storage.uri!r} has no file locks ({error.strerror}); choose another disk",
                key="storage",
            ) from None
        raise UserError(
            f"cannot write to {storage.uri!r}: {error.strerror}", key="storage"
        ) from None
    return lock


def _tell_of_another(storage: Storage, say: Callable[[str], None] | None) -> None:
    """Say so if the last holder was on another machine and has not said that it ended.

    It may have died. A machine that was started again has kept its name, and its processes ended.
    """
    file = storage.own_path(FILE)
    assert file is not None
    with suppress(OSError):
        host = other_machine(file.read_bytes()[:MOST_BYTES])
        if say is not None and host not in (None, this_machine()["host"]):
            say(
                f"the last search in {storage.uri} ran on {host} and did not end by itself; some "
                "network disks keep locks to one machine, so make sure that it does not run there"
            )


def _write_holder(file: str | os.PathLike[str], content: bytes) -> None:
    """Name the holder in a lock file that this process holds; a full disk is no obstacle."""
    with suppress(OSError):
        descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)


def _delete_without_rows(folder: Path) -> None:
    """Delete the folder of a search or of a study that has no evaluation."""
    ledgers = (folder, *(each for each in folder.iterdir() if each.is_dir()))
    if not any(any((each / Ledger.FOLDER).glob("*")) for each in ledgers):
        shutil.rmtree(folder, ignore_errors=True)
