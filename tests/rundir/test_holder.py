"""`Holder`: a look at whether a process holds a run directory."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

from revo_ray.errors import UserError
from revo_ray.rundir import lock
from revo_ray.rundir.holder import Holder
from revo_ray.rundir.lock import RunLock
from revo_ray.rundir.machine import this_machine
from revo_ray.storage import Storage
from tests.object_store import object_store

ELSEWHERE = b'{"host": "elsewhere", "boot": "another"}'


@pytest.mark.slow
def test_a_lease_that_nobody_renews_belongs_to_a_dead_process() -> None:
    with object_store() as uri:
        storage = Storage(uri("results/shot"))
        lease = {"token": "0" * 32, "host": "elsewhere", "pid": 7, "kernel": "another"}
        holder = Holder(storage, patience=0.5)
        assert holder.state == "free"
        storage.write(".lease", json.dumps(lease | {"count": 1}).encode())
        assert holder.state == "held"
        time.sleep(0.3)
        storage.write(".lease", json.dumps(lease | {"count": 2}).encode())
        assert holder.state == "held"
        time.sleep(0.3)
        assert holder.state == "held", "it was renewed 0.3 s ago"
        time.sleep(0.6)
        assert holder.state == "free"
        assert Holder(storage.child("search")).state == "held", (
            "a study's lease covers its searches"
        )


@pytest.mark.parametrize("killed", [False, True])
def test_the_lock_of_a_process_is_seen_without_taking_it(tmp_path: Path, killed: bool) -> None:
    holder = Holder(Storage(str(tmp_path)))
    assert holder.state == "free"
    assert not list(tmp_path.iterdir()), "a look makes no file"
    program = (
        "import sys\n"
        "from revo_ray.rundir.lock import RunLock\n"
        "from revo_ray.storage import Storage\n"
        "with RunLock(Storage(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    with Popen(words, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert all(holder.state == "held" for _ in range(5))
        if killed:
            process.kill()
    assert holder.state == "free"


@contextmanager
def glance(file: Path, seconds: float) -> Iterator[None]:
    """Another process holds a shared lock, as a watch does, from now on for these seconds."""
    program = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1])\n"
        "fcntl.flock(file, fcntl.LOCK_SH)\n"
        "print('held', flush=True)\n"
        "time.sleep(float(sys.argv[2]))\n"
    )
    words = [sys.executable, "-c", program, str(file), str(seconds)]
    with Popen(words, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield


def test_a_search_begins_while_another_process_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    RunLock(storage).close()
    with glance(tmp_path / lock.FILE, 0.1):
        RunLock(storage).close()
    monkeypatch.setattr(lock, "GLANCE", 0)
    with glance(tmp_path / lock.FILE, 0.1), pytest.raises(UserError, match="is running"):
        RunLock(storage)


def test_a_lock_of_another_machine_may_be_held(tmp_path: Path) -> None:
    """Some mounted disks keep locks to one machine, so that it can be taken here."""
    holder, file = Holder(Storage(str(tmp_path))), tmp_path / lock.FILE
    file.write_bytes(ELSEWHERE)
    assert holder.state == "unknown"
    said: list[str] = []
    with RunLock(Storage(str(tmp_path)), said.append) as outer:
        assert holder.state == "held"
        assert f"the last search in {tmp_path} ran on elsewhere" in " ".join(said)
        (tmp_path / "search").mkdir()
        (tmp_path / "search" / lock.FILE).write_bytes(ELSEWHERE)
        RunLock(Storage(str(tmp_path / "search")), said.append, within=outer).close()
        assert len(said) == 1, "a study's search says nothing more"
        assert "host" in json.loads(file.read_bytes())
    assert holder.state == "free"
    assert not file.read_bytes(), "it ended, on any machine"
    own = this_machine()
    for named in (b"", json.dumps(own).encode(), json.dumps(own | {"boot": "before"}).encode()):
        file.write_bytes(named)
        RunLock(Storage(str(tmp_path)), said.append).close()
    assert len(said) == 1, "no process of this machine outlives its restart"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOLCK, errno.EACCES])
@pytest.mark.parametrize("call", ["open", "flock"])
def test_an_error_of_the_disk_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(code, os.strerror(code))

    (tmp_path / lock.FILE).write_text("")
    monkeypatch.setattr(*((os, "open") if call == "open" else (fcntl, "flock")), refuse)
    assert Holder(Storage(str(tmp_path))).state == "unknown"
