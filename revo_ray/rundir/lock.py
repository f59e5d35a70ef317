"""One driver for one run directory."""

from __future__ import annotations

import errno
from collections.abc import Callable

from filelock import FileLock, Timeout

from revo_ray.errors import UserError
from revo_ray.rundir.lease import HEARTBEAT, PATIENCE, SETTLE, Lease, refuse_if_alive
from revo_ray.storage import Storage

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of disks that have no file locks."""


class RunLock:
    """A run directory for this process alone, until closed.

    On a local or mounted disk it is a lock that the kernel lets go of when the process ends,
    however it ends. Elsewhere it is a `Lease`, for want of such locks.

    Args:
        storage: the run directory; made if it does not exist.
        say: told in one line why it takes long.
        within: the lock of the folder above, a study's; where that is a lease it serves for this
            folder too, and nothing is written here.
        heartbeat, patience, settle: seconds, of `Lease`.

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
        settle: float = SETTLE,
    ) -> None:
        self._file: FileLock | None = None
        self._lease: Lease | None = None
        self._within = within
        if storage.local is not None:
            self._file = _lock_file(storage)
            return
        try:
            if within is not None:
                refuse_if_alive(storage, say, patience)
                return
            if storage.parent is not None:
                refuse_if_alive(storage.parent, say, patience)
            self._lease = Lease(storage, say, heartbeat, patience, settle)
        except OSError as error:
            raise UserError(f"cannot write to {storage.uri!r}: {error}", key="storage") from None

    def check(self) -> None:
        """Make sure that it is still held; call it before what must not be written by two.

        It costs nothing but where a lease could not be renewed for a while.

        Raises:
            SearchError: another process has taken a lease over.
            OSError: the storage cannot be reached, and so nobody knows.
        """
        lease = self._lease or (self._within and self._within._lease)
        if lease:
            lease.check()

    def close(self) -> None:
        """Let go."""
        if self._file is not None:
            self._file.release()
            self._file = None
        if self._lease is not None:
            self._lease.close()
            self._lease = None


def _lock_file(storage: Storage) -> FileLock:
    folder = storage.local
    assert folder is not None
    # A soft lock would outlive the process that is killed.
    lock = FileLock(folder / ".lock", timeout=0, thread_local=False, fallback_to_soft=False)
    try:
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
