"""One driver for one run directory."""

from __future__ import annotations

import fcntl
import os

from revo_ray.errors import UserError
from revo_ray.storage import Storage


class RunLock:
    """An exclusive lock on a run directory on a local or mounted disk, held until closed.

    The kernel lets go of it when the process ends, however it ends. Object stores have no such
    lock; there it does nothing.

    Args:
        storage: the run directory; made if it does not exist.

    Raises:
        UserError: another process holds it.
    """

    def __init__(self, storage: Storage) -> None:
        self._file: int | None = None
        if storage.local is None:
            return
        try:
            storage.local.mkdir(parents=True, exist_ok=True)
            self._file = os.open(storage.local / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(
                f"cannot write to {storage.uri!r}: {error.strerror}", key="storage"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise UserError(
                f"another search is running in {storage.uri}; wait for it or stop it"
            ) from None
        except OSError as error:
            self.close()
            raise UserError(
                f"{storage.uri!r} has no file locks ({error.strerror}); choose another disk",
                key="storage",
            ) from None

    def close(self) -> None:
        """Let go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
