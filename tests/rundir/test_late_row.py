"""A driver that is stopped in the middle of writing a row: another one takes its search over.

The first goes on later. Its row is refused, or it is the only one that there ever is; and it
changes nothing else. Values here depend on the driver, so that nobody's row passes for another's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from revo_ray import s3_create
from revo_ray import storage as storage_module
from revo_ray.rundir.lock import RunLock
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.storage import Storage
from tests.object_store import object_store
from tests.rundir.late_driver import EVALUATIONS, FAST, STALLS_AT, open_state, work

ROOT = Path(__file__).parents[2]
ROW = f"ledger/{STALLS_AT:06d}.json"
OLD, NEW = 100.0, 200.0
"""Added by each driver to a loss, so that their rows differ."""

pytestmark = pytest.mark.slow


class Gate:
    """Holds the first request that writes the row, and stops whoever sent it."""

    def __init__(self) -> None:
        self.sender: Any = None
        self.held, self.open = threading.Event(), threading.Event()

    def __call__(self, environ: dict[str, str]) -> bool:
        writes = environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].endswith(ROW)
        if writes and self.sender is not None and not self.held.is_set():
            self.sender.send_signal(signal.SIGSTOP)
            self.held.set()
            assert self.open.wait(60)
        return False


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def uri(gate: Gate) -> Iterator[str]:
    with object_store(fails=gate) as uri:
        yield uri("run")


@pytest.fixture
def stalled(gate: Gate, uri: str) -> Iterator[Callable[[str], Any]]:
    """Starts the old driver; returns when it stands still in the middle of writing the row."""
    started: list[subprocess.Popen[str]] = []

    def start(moment: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "tests.rundir.late_driver", uri, str(OLD), moment]
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        if moment == "request":
            gate.sender = process
            assert gate.held.wait(60)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        time.sleep(FAST["patience"])
        return process

    yield start
    gate.open.set()
    for process in started:
        process.kill()
        process.communicate()


def go_on(gate: Gate, process: Any) -> str:
    """Let the old driver go on to its end; gives what it said of that."""
    gate.open.set()
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate(timeout=60)
    return str(said)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("moment", "first"),
    [
        ("request", "new"),
        ("request", "old"),
        pytest.param("before", "new", marks=pytest.mark.nightly),
        pytest.param("after", "new", marks=pytest.mark.nightly),
    ],
)
def test_a_late_row_is_refused_or_the_only_one(
    gate: Gate, uri: str, stalled: Callable[[str], Any], moment: str, first: str
) -> None:
    old = stalled(moment)
    storage = Storage(uri)
    with RunLock(storage, **FAST) as lock:
        state = open_state(uri, guard=lock.check)
        assert (STALLS_AT in state.ledger) == (moment == "after")  # the new one has to make it
        if first == "old":
            assert "took" in go_on(gate, old)
        work(state, NEW, until=STALLS_AT + 1)
        row, everything = storage.read(ROW), contents(storage)
        if first == "new":
            assert "took" in go_on(gate, old)
        assert contents(storage) == everything
        work(state, NEW)
    loss = state.ledger[STALLS_AT].val_loss
    assert loss is not None
    mine = first == "new" and moment != "after"
    assert loss // OLD == (NEW if mine else OLD) // OLD
    assert storage.read(ROW) == row
    # What the new driver was told is what is recorded: a resumed search goes the same way.
    assert len(state.ledger) == EVALUATIONS
    again = open_state(uri)
    assert again.spent
    assert list(again.ledger) == list(state.ledger)


def contents(storage: Storage) -> dict[str, bytes]:
    """All rows and descriptions."""
    folders = ("ledger", "best", "models")
    names = [f"{folder}/{name}" for folder in folders for name in storage.list(folder)]
    return {name: storage.read(name) for name in names}


@pytest.mark.nightly
def test_without_conditional_writes_a_row_that_is_there_stands(
    gate: Gate, uri: str, stalled: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*options: Any) -> None:
        raise s3_create.NotSupportedError

    monkeypatch.setattr(s3_create, "_client", refuse)
    old = stalled("request")
    storage = Storage(uri)
    with RunLock(storage, **FAST) as lock:
        state = open_state(uri, guard=lock.check)
        go_on(gate, old)
        row = storage.read(ROW)
        work(state, NEW)
    assert storage.read(ROW) == row
    assert state.ledger[STALLS_AT] == RunDirectory(uri).ledger()[STALLS_AT]


@pytest.mark.parametrize("knows", [True, False])
def test_a_file_is_created_once(knows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a store that knows conditional writes, and by one that answers that it does not."""
    made = s3_create.create

    def create(options: Any, target: str, content: bytes) -> bool:
        if not knows:
            raise s3_create.NotSupportedError
        return made(options, target, content)

    monkeypatch.setattr(storage_module, "create_in_s3", create)
    with object_store() as uri:
        storage = Storage(uri("once"))
        assert storage.create("row", b"first") == b"first"
        assert storage.create("row", b"first") == b"first"
        assert storage.create("row", b"second") == b"first"
        assert storage.read("row") == b"first"
        storage.delete("row")
        assert storage.create("row", b"third") == b"third"


def test_a_server_that_is_gone_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "PATIENCE_SECONDS", 0.0)
    with object_store() as uri:
        storage = Storage(uri("gone"))
    with pytest.raises(OSError, match="gone/row") as error:
        storage.create("row", b"row")
    assert "\n" not in str(error.value)
