"""Where searches are disturbed: a cluster, a storage, and the searches that nobody disturbs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from safetensors.numpy import load_file, save_file

from revo_ray.storage import Storage
from tests.end_to_end.cli import PATH, SMALL
from tests.faults.cluster import Machines
from tests.faults.driver import Driver
from tests.faults.store import Store
from tests.faults.watch import BEGAN, ENDED, Event, Log, Mark, RunDirectory, Verdict, judge
from tests.forks.client import forking

TIME_LIMIT = 30
"""Seconds after which an evaluation counts as hung, which include a cold worker's first ones."""
PATIENCE = 300.0
"""Seconds after which a search that shows no progress is given up."""
DISK_BYTES = 64 * 2**20


class StuckError(Exception):
    """A search did not come to where it should have come."""


@dataclass(frozen=True)
class Undisturbed:
    """A search that ended by itself: its name, what it came to, and its exit status."""

    name: str
    outcome: dict[str, Any]
    status: int


class Lab:
    """One cluster of two nodes, and folders of its own; used for one search after the other.

    Attributes:
        folder: everything that is written lies in it.
        disk: where run directories are; a file system of its own where this process may mount one.
        mounted: whether it is.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="rf", dir="/tmp"))  # sockets need short paths
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._stack.enter_context(forking(self.folder / "forks"))
        self._environment = {
            "PYTHONPATH": os.pathsep.join([*PATH, str(Path(__file__).parent / "hooks")]),
            "FAULTS_FOLDER": str(self.folder),
            "REVO_RAY_CACHE": str(self.folder / "cache"),
            "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
            "MALLOC_MMAP_THRESHOLD_": str(2**16),  # so that tensors are allocations of their own
            "TMPDIR": str(self.folder / "tmp"),
            "COLUMNS": "100",
        }
        (self.folder / "tmp").mkdir()
        self.disk = self.folder / "disk"
        self.mounted = self._mount(self.disk)
        self.log = Log(self.folder)
        self._store: Store | None = None
        self._machines: Machines | None = None
        self._undisturbed: dict[str, Undisturbed] = {}
        self._names: dict[str, int] = {}
        self._stack.callback(self._lose_machines)
        self._before = os.environ.get("RAY_TMPDIR")
        os.environ["RAY_TMPDIR"] = str(self.folder)

    @property
    def machines(self) -> Machines:
        """The cluster; a new one after it was lost."""
        if self._machines is None:
            self._machines = Machines(self._environment | Store.CREDENTIALS)
        return self._machines

    @property
    def store(self) -> Store:
        """An S3 server that can be cut off."""
        if self._store is None:
            self._store = Store()
            self._stack.callback(self._store.close)
        return self._store

    def lose_machines(self) -> None:
        """Kill every process of the cluster; the next search gets a new one."""
        if self._machines is not None:
            self._machines.lose()
        self._machines = None

    def clock(self, offset: int) -> None:
        """Let the clock of every process be wrong by that many seconds."""
        path = self.folder / "clock"
        temporary = path.with_suffix(".new")
        temporary.write_text(str(offset))
        os.replace(temporary, path)

    def start(
        self, words: list[str], environment: dict[str, str], point: tuple[str, int] | None
    ) -> Driver:
        """Start a driver on this cluster."""
        words = [*words, "--address", self.machines.address]
        return Driver(words, self.folder, self._environment | environment, point)

    def name(self, stem: str) -> str:
        """A name that no other search of this lab has."""
        self._names[stem] = self._names.get(stem, 0) + 1
        return f"{stem}-{self._names[stem]}"

    def undisturbed(self, settings: Mapping[str, str]) -> Undisturbed:
        """The search with these settings that nobody disturbs; run once."""
        key = repr(sorted(settings.items()))
        if key not in self._undisturbed:
            search = Search(self, settings, stem="undisturbed")
            search.ensure_running()
            try:
                status = search.driver.wait(PATIENCE)
                outcome = search.directory.outcome()
                self._undisturbed[key] = Undisturbed(search.name, outcome, status)
            finally:
                search.close()
        return self._undisturbed[key]

    def nan_weights(self) -> Path:
        """A weight file of the small network in which no number is one."""
        path = self.folder / "nan.safetensors"
        if not path.exists():
            model = (
                self.disk
                / self.undisturbed({"search.lookahead": "0"}).name
                / "best/model.safetensors"
            )
            tensors = load_file(model)
            for tensor in tensors.values():
                if np.issubdtype(tensor.dtype, np.floating):
                    tensor.fill(np.nan)
            save_file(tensors, path)
        return path

    def close(self) -> None:
        """Leave nothing running and nothing written."""
        self._stack.close()
        if self._before is None:
            del os.environ["RAY_TMPDIR"]
        else:
            os.environ["RAY_TMPDIR"] = self._before

    def _mount(self, path: Path) -> bool:
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
        mounted = subprocess.run(command, capture_output=True).returncode == 0
        if mounted:
            self._stack.callback(subprocess.run, ["umount", "-l", str(path)], check=False)
        return mounted

    def _lose_machines(self) -> None:
        if self._machines is not None:
            self._machines.close()


@dataclass(frozen=True)
class Injection:
    """A fault that was caused, and whether something showed that it took place."""

    kind: str
    fired: bool


class Search:
    """A search that is disturbed, from its first driver to its last.

    Args:
        lab: where it runs.
        settings: by key, besides those of the small network; a search that nobody disturbs is run
            with the same.
        in_store: its run directory is in the object store.
    """

    def __init__(
        self, lab: Lab, settings: Mapping[str, str], in_store: bool = False, stem: str = "run"
    ) -> None:
        self.lab = lab
        self.settings = dict(settings)
        self.in_store = in_store
        self.changing = {"resources.max_concurrent": "1"}
        """Settings that change no number; each driver may have others."""
        self.may_stop = False
        """A fault may still end the driver, resumable."""
        self.name = lab.name(stem)
        storage = lab.store.direct("searches") if in_store else str(lab.disk)
        self.directory = RunDirectory(Storage(storage), self.name)
        self.marks: list[Mark] = []
        self.injections: list[Injection] = []
        self.hit: set[int] = set()
        """Evaluations that lost a worker; a genome that loses three is given up."""
        self._driver: Driver | None = None
        self._extra: list[Driver] = []

    @property
    def driver(self) -> Driver:
        """The last one that was started."""
        assert self._driver is not None
        return self._driver

    @property
    def running(self) -> bool:
        return self._driver is not None and self._driver.status is None

    def words(self) -> list[str]:
        """The command line, without the cluster's address."""
        storage = self.lab.store.proxied("searches") if self.in_store else str(self.lab.disk)
        sets = [*SMALL, f"storage={storage}", f"name={self.name}", "resources.device=cpu"]
        sets += [f"{key}={value}" for key, value in (self.settings | self.changing).items()]
        return ["search", *(word for setting in sets for word in ("--set", setting))]

    def start(self, resume: bool = True, point: tuple[str, int] | None = None) -> Driver:
        """Start a driver, whether or not one runs."""
        words = [*self.words(), *(["--resume"] if resume else [])]
        driver = self.lab.start(words, Store.CREDENTIALS if self.in_store else {}, point)
        self._extra.append(driver)
        return driver

    def ensure_running(self, point: tuple[str, int] | None = None) -> None:
        """Start a driver where none runs, to go on where the run directory stands."""
        if not self.running:
            self.hit.clear()
            self._driver = self.start(point=point)

    def adopt(self, driver: Driver) -> None:
        """Take a driver that was started at the same time for the one that runs."""
        self._driver = driver

    def wait_for_rows(self, count: int) -> bool:
        """Until the ledger has that many rows; false where the search ended before."""
        return self.wait(lambda: self.directory.count() >= count, 0.3 if self.in_store else 0.02)

    def wait(
        self, condition: Callable[[], Any], every: float = 0.01, patience: float = PATIENCE
    ) -> bool:
        """Until something is so; false where the driver ended before.

        Raises:
            StuckError: it never was.
        """
        deadline = time.monotonic() + patience
        while not condition():
            if not self.running:
                return bool(condition())
            if time.monotonic() > deadline:
                raise StuckError(f"no progress in {patience:g} s: {self.driver.err[-300:]}")
            time.sleep(every)
        return True

    def expect_end(self, status: int, says: str = "", patience: float = PATIENCE) -> bool:
        """Wait for the driver's end; whether it ended so, and said so."""
        ended = self.driver.wait(patience)
        return ended == status and says in self.driver.err

    def expect_gone(self, pid: int, patience: float) -> None:
        """A process that its search has given up must not stay.

        Raises:
            StuckError: it stays.
        """
        deadline = time.monotonic() + patience
        while alive(pid):
            if time.monotonic() > deadline:
                send(pid, signal.SIGKILL)
                raise StuckError(f"worker {pid} was given up and is there {patience:g} s later")
            time.sleep(0.1)

    @contextmanager
    def injecting(self, kind: str) -> Iterator[Callable[[bool], None]]:
        """Note what is finished, then cause a fault; give what it yields whether it took place."""
        self.marks.append(self.directory.mark())
        fired: list[bool] = []
        yield fired.append
        self.injections.append(Injection(kind, bool(fired and fired[-1])))

    def destroyed(self, evaluation: int) -> None:
        """A row that the fault itself destroys was never promised to stay."""
        for mark in self.marks:
            mark.rows.pop(evaluation, None)

    def workers(self) -> dict[int, Event]:
        """The last event of each live worker of the running driver."""
        return {
            pid: event
            for pid, event in self.lab.log.workers(self.name).items()
            if event.moment > self.driver.began and alive(pid)
        }

    def busy_worker(self, delay: float, fresh: bool = True) -> Event | None:
        """Stop (SIGSTOP) a worker in the middle of a training, some seconds after it was seen.

        Args:
            delay: seconds.
            fresh: of an evaluation that lost no worker yet.

        Returns:
            what it is doing; None where the search ended before.
        """
        while True:
            found: list[Event] = []

            def look(found: list[Event] = found) -> bool:
                found[:] = [
                    event
                    for event in self.workers().values()
                    if event.what == BEGAN and not (fresh and event.evaluation in self.hit)
                ]
                return bool(found)

            if not self.wait(look) or not found:
                return None
            time.sleep(delay)
            event = found[-1]
            if not send(event.pid, signal.SIGSTOP):
                continue
            if self.lab.log.workers(self.name)[event.pid] == event:  # it cannot change any more
                return event
            send(event.pid, signal.SIGCONT)
            delay = 0

    def idle_workers(self) -> list[int]:
        """Live workers that wait for work."""
        return [pid for pid, event in self.workers().items() if event.what == ENDED]

    def finish(self) -> Verdict:
        """Go on to the end without disturbance, and judge."""
        undisturbed = self.lab.undisturbed(self.settings)
        status = undisturbed.status
        try:
            self.ensure_running()
            ended = self.driver.wait(PATIENCE)
            if ended == 3 != status and self.may_stop:
                self.ensure_running()
                ended = self.driver.wait(PATIENCE)
            if ended != status:
                raise StuckError(f"exit status {ended}, not {status}: {self.driver.err[-500:]}")
            events = self.lab.log.events(self.name)
            return judge(self.directory, events, self.marks, undisturbed.outcome)
        except (StuckError, TimeoutError) as error:
            return Verdict(notes=[str(error)])

    def close(self) -> None:
        """Leave nothing running."""
        for driver in self._extra:
            driver.kill()


def alive(pid: int) -> bool:
    """Whether a process runs, or could."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; whether there was somebody to get it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
