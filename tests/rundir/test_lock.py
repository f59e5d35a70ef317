"""One driver for one run directory: processes that live, die, sleep and come together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from revo_ray import storage as storage_module
from revo_ray.errors import SearchError, UserError
from revo_ray.rundir.lock import RunLock
from revo_ray.storage import Storage
from tests.object_store import object_store

ROOT = Path(__file__).parents[2]
FAST = {"heartbeat": 0.2, "patience": 3.0, "read_back": 0.5}
HELD = f"""
import sys
from revo_ray.errors import SearchError, UserError
from revo_ray.rundir.lock import RunLock
from revo_ray.storage import Storage

storage = Storage(sys.argv[1])
print("ready", flush=True)
input()
try:
    lock = RunLock(storage, **{FAST})
except UserError as error:
    sys.exit(print("refused:", error))
print("held", flush=True)
for line in sys.stdin:
    try:
        lock.check()
        print("mine", flush=True)
    except SearchError as error:
        print("lost:", error, flush=True)
lock.close()
"""
ELSEWHERE = {"token": "0", "host": "elsewhere", "pid": 7, "started": "1", "kernel": "k", "count": 1}

pytestmark = pytest.mark.slow

Uri = Callable[[str], str]
Driver = Callable[[str], Any]


@pytest.fixture(scope="module")
def store() -> Iterator[Uri]:
    with object_store() as uri:
        yield uri


@pytest.fixture
def driver() -> Iterator[Driver]:
    """Starts a process that is ready to take a folder's lock, and does at its first line."""
    started: list[subprocess.Popen[str]] = []

    def start(uri: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HELD, uri],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert answer(process) == "ready"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def answer(process: Any) -> str:
    return str(process.stdout.readline()).strip()


def ask(process: Any) -> str:
    process.stdin.write("\n")
    process.stdin.flush()
    return answer(process)


def lease(storage: Storage) -> dict[str, Any]:
    return dict(json.loads(storage.read(".lease")))


def test_a_folder_on_a_disk_has_one_driver(tmp_path: Path, driver: Driver) -> None:
    storage = Storage(str(tmp_path / "run"))
    holder = driver(storage.uri)
    assert ask(holder) == "held"
    with pytest.raises(UserError, match=f"another search is running in {storage.uri}"):
        RunLock(storage)
    holder.kill()
    holder.wait()
    lock = RunLock(storage)
    lock.check()
    lock.close()
    assert storage.list() == [".lock"]


def test_a_driver_that_lives_keeps_others_out_and_leaves_nothing(
    store: Uri, driver: Driver
) -> None:
    storage = Storage(store("alive"))
    holder = driver(storage.uri)
    assert ask(holder) == "held"
    with pytest.raises(UserError, match=rf"running in .*process {holder.pid} on ") as refusal:
        RunLock(storage, **FAST)
    assert "\n" not in str(refusal.value)
    assert ask(holder) == "mine"
    holder.communicate("")
    assert storage.list() == []


def test_a_driver_of_this_machine_that_was_killed_is_followed_at_once(
    store: Uri, driver: Driver
) -> None:
    storage = Storage(store("killed"))
    holder = driver(storage.uri)
    assert ask(holder) == "held"
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # its number is still taken
    said: list[str] = []
    lock = RunLock(storage, said.append, **FAST)
    assert not said
    assert lease(storage)["pid"] != holder.pid
    lock.check()
    lock.close()


def test_a_lease_of_another_machine_is_watched_and_then_taken(store: Uri) -> None:
    storage = Storage(store("elsewhere"))
    storage.write(".lease", json.dumps(ELSEWHERE).encode())
    said: list[str] = []
    began = time.monotonic()
    lock = RunLock(storage, said.append, **FAST)
    assert time.monotonic() - began >= FAST["patience"]
    assert len(said) == 1
    assert "process 7 on elsewhere still runs" in said[0]
    lock.check()
    lock.close()
    assert storage.list() == []


def test_a_driver_that_slept_while_another_took_over_learns_of_it(
    store: Uri, driver: Driver
) -> None:
    storage = Storage(store("slept"))
    holder = driver(storage.uri)
    assert ask(holder) == "held"
    holder.send_signal(signal.SIGSTOP)
    lock = RunLock(storage, **FAST)
    ours = lease(storage)["token"]
    holder.send_signal(signal.SIGCONT)
    assert "lost: " in (line := ask(holder))
    assert "--resume" in line
    time.sleep(4 * FAST["heartbeat"])
    assert lease(storage)["token"] == ours
    lock.check()
    holder.communicate("")  # it must not delete what is ours
    assert lease(storage)["token"] == ours
    lock.close()


@pytest.mark.sample(1)
@pytest.mark.parametrize("stale", [False, True])
def test_of_two_that_come_together_one_has_it(store: Uri, driver: Driver, stale: bool) -> None:
    storage = Storage(store(f"two{stale}"))
    if stale:
        storage.write(".lease", json.dumps(ELSEWHERE).encode())
    both = [driver(storage.uri) for _ in range(2)]
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = sorted(answer(process).split(":")[0] for process in both)
    assert answers == ["held", "refused"]


def test_a_clock_that_jumps_changes_nothing(store: Uri, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(store("clock"))
    lock = RunLock(storage, **FAST)
    for jump in (-1e6, 1e6):
        monkeypatch.setattr(time, "time", lambda jump=jump: 1.7e9 + jump)
        with pytest.raises(UserError, match="another search is running"):
            RunLock(storage, **FAST)
        lock.check()
    lock.close()


def test_where_nobody_can_tell_who_holds_it_the_error_is_the_storages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage_module, "PATIENCE_SECONDS", 0.0)
    with object_store() as uri:
        lock = RunLock(Storage(uri("run")), **FAST)
        lock.check()
    time.sleep(FAST["patience"] / 2)
    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        lock.check()
    lock.close()


def test_a_studys_lease_serves_for_its_searches(store: Uri) -> None:
    study = Storage(store("study"))
    lock = RunLock(study, **FAST)
    inner = RunLock(study.child("run"), within=lock, **FAST)
    inner.check()
    assert study.child("run").list() == []
    with pytest.raises(UserError, match="another search is running"):
        RunLock(study.child("run"), **FAST)
    taken = json.dumps(ELSEWHERE).encode()
    assert lock._lease is not None
    with lock._lease._mutex:  # no heartbeat reads the lease half written, or replaces it
        study.write(".lease", taken)
    time.sleep(FAST["patience"] / 2)
    with pytest.raises(SearchError, match="process 7 on elsewhere took"):
        inner.check()
    inner.close()
    lock.close()
    assert study.list() == [".lease"]
