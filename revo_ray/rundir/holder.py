"""Tells whether a process holds a run directory, without taking it."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress

from revo_ray.rundir.lease import FILE as LEASE
from revo_ray.rundir.lease import PATIENCE, names_a_dead_process
from revo_ray.rundir.lock import FILE as LOCK
from revo_ray.storage import Storage


class Holder:
    """Watches the lock or the lease of a folder.

    On a local or mounted disk a shared lock is tried for an instant; `RunLock` waits longer than
    that. An object store has a lease: a holder that does not renew it for `patience` seconds is
    dead. A lease of the folder above, that of a study, covers this folder too.

    Args:
        storage: the folder.
        patience: seconds; see `lease.PATIENCE`.
    """

    def __init__(self, storage: Storage, patience: float = PATIENCE) -> None:
        self._storage = storage
        self._patience = patience
        self._leases: dict[str, tuple[bytes, float]] = {}
        """The last content of each lease, and the time at which it was new."""

    @property
    def is_there(self) -> bool:
        """Whether a process holds the folder, as far as can be told.

        Raises:
            OSError: the storage is unreachable.
        """
        if self._storage.local is not None:
            return _is_locked(str(self._storage.local / LOCK))
        above = self._storage.parent
        return any(self._has_lease(each) for each in (self._storage, above) if each is not None)

    def _has_lease(self, storage: Storage) -> bool:
        try:
            content = storage.read(LEASE)
        except FileNotFoundError:
            return False
        if names_a_dead_process(content):
            return False
        now = time.monotonic()
        before, since = self._leases.get(storage.uri, (b"", now))
        if content != before:
            since = now
        self._leases[storage.uri] = content, since
        return now - since < self._patience


def _is_locked(path: str) -> bool:
    """Whether a process holds a lock file; a disk without locks has no searches either."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        with suppress(OSError):
            os.close(file)
    return False
