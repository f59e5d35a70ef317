"""What can go wrong, one function for each kind; each says whether it really went wrong.

A fault gets a search that runs, or whose driver just died; it may leave it either way. It returns
False where there was nothing left to disturb: that counts as no injection.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faults.lab import TIME_LIMIT, Search, alive, send
from tests.faults.points import POINTS
from tests.faults.watch import ENDED, FAILED

Fault = Callable[[Search, random.Random], bool]

DAY = 86_400
ROW_BYTES = 2300
"""A little less than a row has."""


def kill_driver(search: Search, rng: random.Random) -> bool:
    """SIGKILL of the driver, in the middle of trainings or while it starts."""
    time.sleep(rng.uniform(0, 0.6))
    with search.injecting("driver-kill") as fired:
        search.driver.signal(signal.SIGKILL)
        fired(search.expect_end(-signal.SIGKILL))
    return True


def terminate_driver(search: Search, rng: random.Random) -> bool:
    """SIGTERM or SIGINT: the driver stops by itself, and says how to go on."""
    time.sleep(rng.uniform(0, 0.6))
    number = rng.choice([signal.SIGTERM, signal.SIGINT])
    with search.injecting("driver-terminate") as fired:
        search.driver.signal(number)
        ended = search.driver.wait(30)
        fired(ended == 130 and "Go on with: " in search.driver.out)
    return True


def freeze_driver(search: Search, rng: random.Random) -> bool:
    """The driver's process stands still for seconds, as on a machine that slept."""
    with search.injecting("driver-freeze") as fired:
        search.driver.signal(signal.SIGSTOP)
        time.sleep(rng.uniform(2, 5))
        stopped = search.driver.stopped
        search.driver.signal(signal.SIGCONT)
        fired(stopped)
    return True


def kill_busy_worker(search: Search, rng: random.Random) -> bool:
    """SIGKILL of a worker in the middle of a training."""
    victim = search.busy_worker(rng.uniform(0, 0.3))
    if victim is None:
        return False
    with search.injecting("worker-kill-busy") as fired:
        search.hit.add(victim.evaluation)
        send(victim.pid, signal.SIGKILL)
        fired(_began_again(search, victim.evaluation, victim.pid))
    return True


def kill_idle_worker(search: Search, rng: random.Random) -> bool:
    """SIGKILL of a worker that waits at a generation's barrier, which the last one holds."""
    return any(_kill_idle_at(search, barrier, rng) for barrier in (10, 20, 23))


def _kill_idle_at(search: Search, barrier: int, rng: random.Random) -> bool:
    """Stop the generation's last training, and kill who waits for it; false where nobody does."""
    last = None
    while last is None or last.evaluation != barrier - 1:
        if last is not None:
            send(last.pid, signal.SIGCONT)
            time.sleep(0.02)
        if search.directory.count() >= barrier:
            return False
        last = search.busy_worker(0, fresh=False)
        if last is None:
            return False
    try:
        search.wait(lambda: search.directory.count() >= barrier - 1, patience=60)
        idle = search.idle_workers()
        if not idle:
            return False
        with search.injecting("worker-kill-idle") as fired:
            victim = rng.choice(idle)
            killed = send(victim, signal.SIGKILL)
            time.sleep(rng.uniform(0.1, 1.0))
            held = search.lab.log.workers(search.name)
            fired(killed and held[victim].what == ENDED and held[last.pid] == last)
    finally:
        send(last.pid, signal.SIGCONT)
    return True


def hang_worker(search: Search, rng: random.Random) -> bool:
    """A worker stops in the middle of a training (SIGSTOP), and never goes on."""
    victim = search.busy_worker(rng.uniform(0, 0.3))
    if victim is None:
        return False
    with search.injecting("worker-hang") as fired:
        search.hit.add(victim.evaluation)
        fired(_began_again(search, victim.evaluation, victim.pid, TIME_LIMIT + 60))
        search.expect_gone(victim.pid, 15)
    return True


def exhaust_memory(search: Search, rng: random.Random) -> bool:
    """A worker gets no more memory until an allocation fails."""
    victim = search.busy_worker(rng.uniform(0, 0.1))
    if victim is None:
        return False
    with search.injecting("out-of-memory") as fired:
        search.hit.add(victim.evaluation)
        before = resource.prlimit(victim.pid, resource.RLIMIT_DATA)
        resource.prlimit(victim.pid, resource.RLIMIT_DATA, (1, before[1]))
        send(victim.pid, signal.SIGCONT)

        def failed() -> bool:
            events = search.lab.log.events(search.name)
            return not alive(victim.pid) or any(
                event.pid == victim.pid and event.what == FAILED for event in events
            )

        search.wait(failed, patience=60)
        with suppress(ProcessLookupError):
            resource.prlimit(victim.pid, resource.RLIMIT_DATA, before)
        fired(failed())
    return True


def remove_node(search: Search, rng: random.Random) -> bool:
    """All processes of a node die in the middle of a training; another joins a little later."""
    machines = search.lab.machines
    victim = search.busy_worker(rng.uniform(0, 0.3))
    if victim is None:
        return False
    node = machines.node_of(victim.raylet)
    if node is None:
        send(victim.pid, signal.SIGCONT)
        return False
    with search.injecting("node-removal") as fired:
        search.hit.add(victim.evaluation)
        machines.remove(node)
        again = _began_again(search, victim.evaluation, victim.pid)
        fired(again and not alive(victim.pid))
    machines.add()
    return True


def lose_head(search: Search, rng: random.Random) -> bool:
    """The whole cluster dies, sometimes the driver with it; there will be a new one."""
    with search.injecting("head-loss") as fired:
        together = rng.random() < 0.5
        if together:
            search.driver.signal(signal.SIGKILL)
        search.lab.lose_machines()
        status = search.driver.wait(120)
        fired(status != 0 if together else status == 3)
    return True


def jump_clock(search: Search, rng: random.Random) -> bool:
    """The clock of the driver and of all workers jumps by a day or more, forth or back."""
    offset = rng.choice([-1, 1]) * DAY + rng.randrange(3600)
    with search.injecting("clock-jump") as fired:
        search.lab.clock(offset)
        noticed = search.wait(lambda: _noticed(search, offset), patience=60)
        fired(noticed or _noticed(search, offset))
    return True


def fill_disk(search: Search, rng: random.Random) -> bool:
    """The disk of the run directory is full, until somebody makes room after the search stopped.

    A machine may refuse to mount a small disk. The fault is then a new driver that may write no
    file long enough for a row.
    """
    if not search.lab.mounted:
        if search.running:
            kill_driver(search, rng)
        with search.injecting("disk-full") as fired:
            search.ensure_running()
            _, hard = resource.prlimit(search.driver.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(search.driver.pid, resource.RLIMIT_FSIZE, (ROW_BYTES, hard))
            fired(search.expect_end(3, "File too large"))
        return True
    time.sleep(rng.uniform(0, 0.5))
    ballast = search.lab.disk / "ballast"
    with search.injecting("disk-full") as fired:
        try:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
            fired(search.expect_end(3, "No space left"))
        finally:
            ballast.unlink()
    return True


def make_read_only(search: Search, rng: random.Random) -> bool:
    """The run directory is read-only, until the search stopped."""
    time.sleep(rng.uniform(0, 0.5))
    with search.injecting("read-only") as fired, read_only(search.directory.path) as says:
        fired(search.expect_end(3, says) or search.expect_end(2, says))
    return True


@contextmanager
def read_only(folder: Path) -> Iterator[str]:
    """Let nobody write into a folder; yields the system's word for it."""
    if os.geteuid():
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        modes = {path: path.stat().st_mode for path in folders}
        try:
            for path in folders:
                path.chmod(0o555)
            yield "Permission denied"
        finally:
            for path, mode in modes.items():
                path.chmod(mode)
        return
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield "Read-only"
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def cut_store(search: Search, rng: random.Random) -> bool:
    """The object store is unreachable: for two seconds or more, or until the search stopped."""
    time.sleep(rng.uniform(0, 0.5))
    line = search.lab.store.line
    with search.injecting("store-unreachable") as fired:
        refused = line.refused
        line.cut()
        try:
            if rng.random() < 0.5:
                time.sleep(2)
                while line.refused == refused and search.running:  # a busy machine
                    time.sleep(0.1)
            else:
                search.driver.wait(180)
        finally:
            line.mend()
        search.may_stop = True
        fired(line.refused > refused)
    return True


def start_another(search: Search, rng: random.Random) -> bool:
    """Somebody starts a second driver on the run directory, while one runs or at once."""
    with search.injecting("second-driver") as fired:
        if search.running:
            second = search.start(resume=rng.random() < 0.5)
        else:
            pair = [search.start(), search.start()]
            while all(driver.status is None for driver in pair):
                time.sleep(0.05)
            second, first = sorted(pair, key=lambda driver: driver.status is None)
            search.adopt(first)
        fired(second.wait(90) == 2 and _refused(second.err))
    return True


def tear_row(search: Search, rng: random.Random) -> bool:
    """While nothing runs, a row is left empty, half, or of zeros, as a power cut leaves it."""
    if search.running:
        kill_driver(search, rng)
    rows = search.directory.rows()
    if not rows or search.directory.path is None:
        return False
    number = rng.choice(sorted(rows))
    content = rows[number].content
    torn = rng.choice([b"", content[: len(content) // 2], bytes(len(content))])
    with search.injecting("torn-row") as fired:
        search.destroyed(number)
        (search.directory.path / "ledger" / f"{number:06d}.json").write_bytes(torn)
        fired(number not in search.directory.rows())
    return True


def spoil_weights(search: Search, rng: random.Random) -> bool:
    """The search began with weights that are not numbers: no value is ever finite."""
    with search.injecting("nan-weights") as fired:
        statuses = {row.values.status for row in search.directory.rows().values()}
        fired(statuses == {"diverged"})
    return True


AT_END = ("answered", "ensemble", "soup", "result")
"""Points that a search comes to when its budget is spent, in an order in which all are met."""
LATE_POINTS = (*("copy", "describe", "plan", "delete"), *AT_END)


def kill_at(point: str) -> Fault:
    """SIGKILL of the driver by itself, in an exact call of a function."""
    assert point in POINTS

    def kill(search: Search, rng: random.Random) -> bool:
        if search.running:
            kill_driver(search, rng)
        nth = 1 if point in AT_END else rng.choice([1, 2, 2])
        with search.injecting(f"driver-kill-at-{point}") as fired:
            search.ensure_running(point=(point, nth))
            fired(search.driver.wait(200) == -signal.SIGKILL)
        return True

    return kill


def _began_again(search: Search, evaluation: int, pid: int, patience: float = 90) -> bool:
    """Whether another process takes up what one was torn from."""

    def again() -> bool:
        return any(
            event.pid != pid and event.evaluation == evaluation
            for event in search.lab.log.events(search.name)
            if event.moment > search.marks[-1].moment
        )

    return search.wait(again, patience=patience)


def _noticed(search: Search, offset: int) -> bool:
    """Whether the driver and a worker saw the clock jump."""
    saw = {event.pid for event in search.lab.log.events("-") if event.what == f"jumped:{offset}"}
    return search.driver.pid in saw and bool(saw & search.lab.log.workers(search.name).keys())


def _refused(error: str) -> bool:
    lines = error.strip().splitlines()
    return len(lines) == 1 and "another search is running in" in lines[0]


FAULTS: dict[str, Fault] = {
    "driver-kill": kill_driver,
    "driver-terminate": terminate_driver,
    "driver-freeze": freeze_driver,
    "worker-kill-busy": kill_busy_worker,
    "worker-kill-idle": kill_idle_worker,
    "worker-hang": hang_worker,
    "out-of-memory": exhaust_memory,
    "node-removal": remove_node,
    "head-loss": lose_head,
    "clock-jump": jump_clock,
    "disk-full": fill_disk,
    "read-only": make_read_only,
    "store-unreachable": cut_store,
    "second-driver": start_another,
    "torn-row": tear_row,
    "nan-weights": spoil_weights,
} | {f"driver-kill-at-{point}": kill_at(point) for point in POINTS}
"""By kind. A search must have begun with `Lab.nan_weights` for `nan-weights`."""

NEEDS_MOUNT = set() if os.geteuid() else {"read-only"}
"""Folders are read-only for root where something is mounted on them alone."""
NEEDS_DISK = {"torn-row", "driver-kill-at-fsync", "driver-kill-at-replace"}
NEEDS_DISK |= {"disk-full", "read-only"}
NEEDS_STORE = {"store-unreachable"}
WITH_NAN = {"nan-weights", "driver-kill", "driver-terminate", "driver-freeze", "second-driver"}
"""What can happen to a search in which nothing is ever the best."""
AT_REST = {kind for kind in FAULTS if kind.startswith("driver-kill-at-")} | {"torn-row"}
"""Best caused while no driver runs."""
LATE = {f"driver-kill-at-{point}" for point in LATE_POINTS}
"""They may wait for the next best evaluation, or for the end."""
ENDS_DRIVER = {kind for kind in FAULTS if kind.startswith("driver-kill")}
ENDS_DRIVER |= {"driver-terminate", "head-loss", "store-unreachable", "disk-full", "read-only"}
