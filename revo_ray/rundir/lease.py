"""A lease: a lock for storages without locks, kept alive by a heartbeat.

The holder rewrites an object every few seconds. A newcomer watches the object by its own clock, so
that no two machines' clocks are compared. If the object does not change for long enough, its holder
is dead and the newcomer writes its own. A holder that was suspended or cut off for that long finds
the newcomer's object in place of its own, and stops.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from revo_ray.errors import SearchError, UserError
from revo_ray.rundir.machine import boot_id
from revo_ray.settings.safe_json import read_json
from revo_ray.storage import Storage

FILE = ".lease"

HEARTBEAT = 5.0
"""Seconds between two renewals of a lease."""
PATIENCE = 20.0
"""Seconds without a renewal after which others take a lease over."""
READ_BACK = 2.0
"""Seconds between writing a lease and reading it back. The last of two newcomers to write wins."""

Say = Callable[[str], None]


class Lease:
    """Holds a folder of a storage until it is closed, or until another process takes it over.

    Args:
        storage: the folder.
        say: called with one line if taking the lease takes long.
        heartbeat, patience, read_back: seconds, as in the constants; a heartbeat must be shorter
            than half the patience.

    Raises:
        UserError: another process holds the folder.
        OSError: the storage is unreachable.
    """

    def __init__(
        self,
        storage: Storage,
        say: Say | None = None,
        heartbeat: float = HEARTBEAT,
        patience: float = PATIENCE,
        read_back: float = READ_BACK,
    ) -> None:
        self._storage = storage
        self._heartbeat = heartbeat
        self._patience = patience
        self._identity = _identity()
        self._count = 0
        self._renewed = 0.0
        self._taken_by: str | None = None
        self._mutex = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        try:
            self._take(say, read_back)
            self._thread.start()
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Make sure that the lease is still held.

        Raises:
            SearchError: another process has taken it over.
            OSError: the storage is unreachable, so nobody knows.
        """
        if self._taken_by is None and _awake() - self._renewed > self._patience / 2:
            with self._mutex:
                self._renew()
        if self._taken_by is not None:
            raise SearchError(
                f"this search was suspended or cut off for a while, and {self._taken_by} "
                f"{self._storage.uri} over; let that one end, then go on with --resume"
            )

    def close(self) -> None:
        """Delete the lease, so that the next process need not wait; unless the storage fails."""
        self._closed.set()
        if self._count == 0:
            return
        # Do not wait for a renewal that hangs.
        if not self._mutex.acquire(timeout=self._heartbeat):
            return
        try:
            with suppress(OSError):
                if self._is_mine(_read(self._storage)):
                    self._storage.delete(FILE)
        finally:
            self._mutex.release()

    def _take(self, say: Say | None, read_back: float) -> None:
        refuse_if_alive(self._storage, say, self._patience)
        began = _awake()
        self._write()
        # A write that was as slow as others are patient may have replaced a lease in use. Wait
        # until its holder must have noticed.
        time.sleep(read_back if _awake() - began < read_back / 2 else self._patience)
        found = _read(self._storage)
        if not self._is_mine(found):
            raise _running(self._storage, found)

    def _keep(self) -> None:
        while not self._closed.wait(self._heartbeat):
            with self._mutex, suppress(OSError):  # `check` decides what follows
                if not self._closed.is_set() and self._taken_by is None:
                    self._renew()

    def _renew(self) -> None:
        """Rewrite the lease, unless another process has taken it over."""
        while True:
            began = _awake()
            found = _read(self._storage)
            if not self._is_mine(found):
                self._taken_by = f"{_who(found)} took"
                return
            if _awake() - began < self._patience / 2:  # else it may have been suspended here
                self._write()
                return

    def _write(self) -> None:
        self._count += 1
        began = _awake()
        # All contents have one length: an object store may cut a longer one that is being read.
        content = json.dumps(self._identity | {"count": f"{self._count:012d}"})
        self._storage.write(FILE, content.encode())
        self._renewed = began

    def _is_mine(self, content: bytes | None) -> bool:
        return _parse(content).get("token") == self._identity["token"]


def names_a_dead_process(content: bytes) -> bool:
    """Whether the holder in a lease was a process of this machine and has ended."""
    return _is_dead(_parse(content))


def refuse_if_alive(storage: Storage, say: Say | None = None, patience: float = PATIENCE) -> None:
    """Return when nobody holds a folder: at once, or after watching a lease that does not change.

    Raises:
        UserError: another process holds it.
        OSError: the storage is unreachable.
    """
    first = _read(storage)
    if first is None or _is_dead(_parse(first)):
        return
    if say is not None:
        say(
            f"watching for {patience:g} seconds whether {_who(first)} still runs in {storage.uri}, "
            "as its lease says"
        )
    until = time.monotonic() + patience  # excludes sleep, which the holder may share
    while time.monotonic() < until:
        time.sleep(patience / 20)
        found = _read(storage)
        if found is None:
            return
        if found != first:
            raise _running(storage, found)


def _running(storage: Storage, content: bytes | None) -> UserError:
    return UserError(
        f"another search is running in {storage.uri} ({_who(content)}); wait for it or stop it"
    )


def _read(storage: Storage) -> bytes | None:
    try:
        return storage.read(FILE)
    except FileNotFoundError:
        return None


def _parse(content: bytes | None) -> dict[str, Any]:
    """The fields of a lease; empty if it is damaged, which counts as held by an unknown process."""
    try:
        values = read_json(content or b"")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _who(content: bytes | None) -> str:
    values = _parse(content)
    if "host" not in values:
        return "another search"
    return f"process {values.get('pid')} on {values['host']}"


def _awake() -> float:
    """Seconds on a clock that is never set and that also runs while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _identity() -> dict[str, Any]:
    return {
        "token": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _process(os.getpid())[1],
        "kernel": _kernel(),
    }


def _is_dead(lease: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine and has ended."""
    if lease.get("kernel") is None or lease["kernel"] != _kernel():
        return False
    pid, started = lease.get("pid"), lease.get("started")
    if not isinstance(pid, int) or pid <= 0 or started is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    state, now = _process(pid)
    return state in ("Z", "X") or (now is not None and now != started)


def _kernel() -> str | None:
    """Boot ID and PID namespace: process numbers are comparable where both are equal."""
    boot = boot_id()
    try:
        return None if boot is None else f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _process(pid: int) -> tuple[str | None, str | None]:
    """State and start time of a process; None if the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None, None
    return fields[0], fields[19]
