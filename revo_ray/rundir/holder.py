"""Tells whether a process holds a run directory, without taking it."""

from __future__ import annotations

import fcntl
import os
import time
from typing import Literal

from revo_ray.rundir.lease import FILE as LEASE
from revo_ray.rundir.lease import PATIENCE, names_a_dead_process
from revo_ray.rundir.lock import FILE as LOCK
from revo_ray.rundir.lock import MOST_BYTES
from revo_ray.rundir.machine import other_machine
from revo_ray.storage import Storage

Held = Literal["held", "free", "unknown"]
"""State of a folder; unknown if its disk shows the locks of other machines to none."""


class Holder:
    """Watches the lock or the lease of a folder.

    On a local or mounted disk a shared lock is tried for an instant; `RunLock` waits longer than
    that. Some mounted disks keep locks to one machine, so a lock that another machine named itself
    in is unknown if it can be taken here. An object store has a lease: a holder that does not
    renew it for `patience` seconds is dead. A lease of the folder above, that of a study, covers
    this folder too.

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
    def state(self) -> Held:
        """Whether a process holds the folder, as far as can be told.

        Raises:
            OSError: the object store is unreachable.
        """
        if self._storage.local is not None:
            return _lock_state(str(self._storage.local / LOCK))
        above = self._storage.parent
        found = [self._has_lease(each) for each in (self._storage, above) if each is not None]
        return "held" if any(found) else "free"

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


def _lock_state(path: str) -> Held:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return "free"
    except OSError:
        return "unknown"
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return "free" if other_machine(os.read(file, MOST_BYTES)) is None else "unknown"
    except BlockingIOError:
        return "held"
    except OSError:
        return "unknown"
    finally:
        os.close(file)
