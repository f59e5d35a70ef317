"""A lock for storages without locks: an object that its holder keeps rewriting.

Nobody compares the clocks of two machines. A newcomer watches, by its own clock, whether the object
changes: an object that stands still for long enough has no holder any more. A holder that was
suspended, or cut off, for so long finds the newcomer's object in place of its own.
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
from revo_ray.storage import Storage

FILE = ".lease"

HEARTBEAT = 5.0
"""Seconds between two renewals."""
PATIENCE = 20.0
"""Seconds that a lease must stand still before others take it over."""
SETTLE = 2.0
"""Seconds between writing a lease and reading it back: of two newcomers the last one has it."""

Say = Callable[[str], None]


class Lease:
    """A folder of a storage, held until closed, or until it was taken over.

    Args:
        storage: the folder.
        say: told in one line why it takes long.
        heartbeat, patience, settle: see the constants; half the patience must hold a heartbeat.

    Raises:
        UserError: another process holds it.
        OSError: the storage cannot be reached.
    """

    def __init__(
        self,
        storage: Storage,
        say: Say | None = None,
        heartbeat: float = HEARTBEAT,
        patience: float = PATIENCE,
        settle: float = SETTLE,
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
            self._take(say, settle)
            self._thread.start()
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Make sure that it is still held.

        Raises:
            SearchError: another process has taken it over.
            OSError: the storage cannot be reached, and so nobody knows.
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
        """Let go, so that the next process need not wait, unless the storage is out of reach."""
        self._closed.set()
        if self._count == 0:
            return
        # A renewal that hangs is not waited for.
        if not self._mutex.acquire(timeout=self._heartbeat):
            return
        try:
            with suppress(OSError):
                if self._is_mine(self._read()):
                    self._storage.delete(FILE)
        finally:
            self._mutex.release()

    def _take(self, say: Say | None, settle: float) -> None:
        refuse_if_alive(self._storage, say, self._patience)
        began = _awake()
        self._write()
        # One that took as long to write as others wait may have fallen on a lease that is in use;
        # its holder will have noticed before this one counts as held.
        time.sleep(settle if _awake() - began < settle / 2 else self._patience)
        found = self._read()
        if not self._is_mine(found):
            raise _running(self._storage, found)

    def _keep(self) -> None:
        while not self._closed.wait(self._heartbeat):
            with self._mutex, suppress(OSError):  # `check` decides what follows
                if not self._closed.is_set() and self._taken_by is None:
                    self._renew()

    def _renew(self) -> None:
        """Rewrite the object, unless it is another's by now."""
        while True:
            began = _awake()
            found = self._read()
            if not self._is_mine(found):
                self._taken_by = f"{_who(found)} took"
                return
            if _awake() - began < self._patience / 2:  # or this was suspended since it looked
                self._write()
                return

    def _write(self) -> None:
        self._count += 1
        began = _awake()
        # Of one length: an object store may cut a longer one that replaces what is being read.
        content = json.dumps(self._identity | {"count": f"{self._count:012d}"})
        self._storage.write(FILE, content.encode())
        self._renewed = began

    def _read(self) -> bytes | None:
        return _read(self._storage)

    def _is_mine(self, content: bytes | None) -> bool:
        return _parse(content).get("token") == self._identity["token"]


def refuse_if_alive(storage: Storage, say: Say | None = None, patience: float = PATIENCE) -> None:
    """Return when nobody holds a folder: at once, or after watching a lease that stands still.

    Raises:
        UserError: somebody does.
        OSError: the storage cannot be reached.
    """
    first = _read(storage)
    if first is None or _is_dead(_parse(first)):
        return
    if say is not None:
        say(
            f"watching for {patience:g} seconds whether {_who(first)} still runs in {storage.uri}, "
            "as its lease says"
        )
    until = time.monotonic() + patience  # of this machine's time awake: it may share its sleep
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
    """The fields of a lease; none of one that is damaged, which then is somebody's."""
    try:
        values = json.loads(content or b"")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _who(content: bytes | None) -> str:
    values = _parse(content)
    if "host" not in values:
        return "another search"
    return f"process {values.get('pid')} on {values['host']}"


def _awake() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine sleeps."""
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
    """Whether the holder is known to have ended: a process of this machine that is gone."""
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
    """This start of this machine, and its numbering of processes: a container has its own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _process(pid: int) -> tuple[str | None, str | None]:
    """A process's state and when it was started; nothing where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None, None
    return fields[0], fields[19]
