"""A Ray head as an administrator starts it: dashboard, token, and no sign of this project."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.forks.client import HOOKS

TOKEN = "a-token-for-one-test-0123456789"
OURS = re.compile(r"__editable__|revo_ray|baselines|__pycache__")


class Head:
    """A Ray head on 127.0.0.1, and its job server.

    Attributes:
        address: of the job server.
        folder: of Ray's sessions.
        environment: of clients that know the token.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "r"
        python = bare_python(folder / "venv")
        ports = [str(port) for port in free_ports(3)]
        self.address = f"http://127.0.0.1:{ports[0]}"
        self._token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("RAY_") and name != "PYTHONPATH"
        }
        self.environment = inherited | self._token
        self._process = subprocess.Popen(
            [
                *(str(python), "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                *("--port", "0", "--dashboard-host", "127.0.0.1", "--dashboard-port", ports[0]),
                *("--ray-client-server-port", ports[1]),
                *("--dashboard-agent-listen-port", ports[2]),
                *("--min-worker-port", "0", "--max-worker-port", "0"),
                *("--num-cpus", "2", "--object-store-memory", str(10**8)),
                *("--temp-dir", str(self.folder), "--disable-usage-stats"),
            ],
            cwd=folder,
            env=self.environment
            | {
                "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all ports on 127.0.0.1
                "HOME": str(folder),  # what a search caches
            },
            stdout=(folder / "head.log").open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._wait(folder / "head.log")

    def get(self, path: str, method: str = "GET") -> Any:
        """What the job server answers."""
        request = urllib.request.Request(self.address + path, method=method)
        request.add_header("Authorization", f"Bearer {TOKEN}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def status(self, job: str) -> str:
        """A job's own status."""
        return str(self.get(f"/api/jobs/{job}")["status"])

    def wait_for(self, job: str, *statuses: str) -> None:
        """Until a job has one of these."""
        deadline = time.monotonic() + 120
        while self.status(job) not in statuses:
            assert time.monotonic() < deadline, self.status(job)
            time.sleep(0.05)

    def log(self, job: str) -> str:
        """What a job printed."""
        return str(self.get(f"/api/jobs/{job}/logs")["logs"])

    def uploaded(self) -> dict[str, int]:
        """The files of the last upload, with their sizes."""
        uploads = self.folder.glob("session_latest/runtime_resources/working_dir_files/_ray_pkg_*/")
        last = max(uploads, key=lambda folder: folder.stat().st_mtime_ns)
        return {
            str(path.relative_to(last)): path.stat().st_size
            for path in last.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }

    def close(self) -> None:
        """End every process of the session that was started here, and of its drivers."""
        tree = psutil.Process(self._process.pid)
        processes = [tree, *tree.children(recursive=True)]
        self._process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=15)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=5)

    def _wait(self, log: Path) -> None:
        deadline = time.monotonic() + 180
        while True:
            try:
                self.get("/api/jobs/")
                return
            except (OSError, urllib.error.URLError):
                running = self._process.poll() is None
                if not running or time.monotonic() > deadline:
                    if running:
                        self.close()
                    raise AssertionError(log.read_text()) from None
                time.sleep(0.1)


def bare_python(folder: Path) -> Path:
    """A virtual environment with all packages of this one but this project; it may use forks."""
    site = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    site.mkdir(parents=True)
    for packages in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(packages).iterdir():
            if not OURS.match(entry.name):
                (site / entry.name).symlink_to(entry)
    (site / "sitecustomize.py").symlink_to(HOOKS / "sitecustomize.py")
    base = Path(sys.executable).resolve()
    (folder / "bin").mkdir()
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    python = folder / "bin" / "python"
    python.symlink_to(base)
    found = subprocess.run(
        [python, "-c", "import ray, revo_ray"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert "No module named 'revo_ray'" in found.stderr
    return python


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """One head for all tests of jobs; started by the first."""
    with tempfile.TemporaryDirectory(prefix="rh", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made = Head(Path(folder))
        yield made
        made.close()


class Commands:
    """Commands of a user's machine, in a session of their own each."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(self, command: list[str], folder: Path, environment: dict[str, str]) -> Any:
        """Start a command."""
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def run(
        self, command: list[str], folder: Path, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return finish(self.start(command, folder, environment))

    def close(self) -> None:
        """Leave nothing running."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def finish(process: Any) -> subprocess.CompletedProcess[str]:
    """What a started command ended with."""
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def commands() -> Iterator[Commands]:
    """Commands that end with the test."""
    made = Commands()
    yield made
    made.close()
