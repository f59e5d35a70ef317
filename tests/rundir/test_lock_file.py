"""The lock of a run directory on this machine, and what is said where there can be none."""

from __future__ import annotations

import errno
import fcntl
import threading
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest

from revo_ray.errors import UserError
from revo_ray.rundir import lock
from revo_ray.rundir.lock import RunLock
from revo_ray.storage import Storage


def test_any_thread_may_release_it(tmp_path: Path) -> None:
    """A thread of the driver, which lives on, may close what another one opened."""
    held: Queue[RunLock] = Queue()
    ended = threading.Event()

    def hold() -> None:
        held.put(RunLock(Storage(str(tmp_path))))
        ended.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        lock = held.get()
        with pytest.raises(UserError, match="another search is running"):
            RunLock(Storage(str(tmp_path)))
        lock.close()
        RunLock(Storage(str(tmp_path))).close()
    finally:
        ended.set()
        thread.join()


def test_a_disk_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that stands for a lock would outlive a driver that is killed."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match="has no file locks"):
        RunLock(Storage(str(tmp_path)))


def test_a_store_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("access denied")

    monkeypatch.setattr(lock, "Lease", refuse)
    storage: Any = SimpleNamespace(local=None, parent=None, uri="s3://bucket/run")
    with pytest.raises(UserError, match="cannot write to 's3://bucket/run': access denied"):
        RunLock(storage)
