"""Processes that are forked from one which has imported the libraries (torch, timm).

Each process of a search takes seconds of a core to import them: every worker of Ray, and every
`python -m revo_ray`. Those that tests start are forks instead, wherever `PYTHONPATH` has `HOOKS`;
they import Ray and the product themselves. `without_forks()` is the environment of a process that
starts as it does elsewhere.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HOOKS = Path(__file__).parent / "hooks"
SERVER = "TESTS_FORKS"
"""The variable that tells where the server listens."""


@contextmanager
def forking(folder: Path) -> Iterator[None]:
    """Let processes that start meanwhile be forks, of one server for all who name this folder."""
    if SERVER in os.environ:
        yield
        return
    folder.mkdir(exist_ok=True)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HOOKS), *filter(None, paths)])
    os.environ[SERVER] = str(folder / "socket")
    with _line_to_server(folder):
        yield
    del os.environ[SERVER]


def without_forks() -> dict[str, str]:
    """This environment, for a process that imports all that it needs."""
    return {name: value for name, value in os.environ.items() if name != SERVER}


def _line_to_server(folder: Path) -> socket.socket:
    path = str(folder / "socket")
    line = socket.socket(socket.AF_UNIX)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            line.connect(path)
        except OSError:
            Path(path).unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path)
                listener.listen(100)
                environment = without_forks()
                del environment["PYTHONPATH"]
                program = str(Path(__file__).with_name("server.py"))
                subprocess.Popen(
                    [sys.executable, program, str(listener.fileno()), str(folder)],
                    pass_fds=[listener.fileno()],
                    env=environment,
                    start_new_session=True,
                )
            line.connect(path)
    return line


class Fork:
    """A running fork, in a session of its own.

    Args:
        words: its command line, without Python.
        folder: where it runs.
        environment: all of it.
        out, err: files for its output.
    """

    def __init__(
        self, words: list[str], folder: Path, environment: dict[str, str], out: Path, err: Path
    ) -> None:
        request = json.dumps([[sys.executable, *words], environment, str(folder)]).encode()
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(os.environ[SERVER])
        with open(os.devnull, "rb") as nothing, out.open("wb") as first, err.open("wb") as second:
            files = [file.fileno() for file in (nothing, first, second)]
            socket.send_fds(self._line, [len(request).to_bytes(4, "big")], files)
        self._line.sendall(request)
        self._answers = self._line.makefile()
        self.pid = int(self._answers.readline())
        self._status: int | None = None

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._status if self._wait(0) else None

    def wait(self, seconds: float) -> int:
        """Wait for its end.

        Raises:
            TimeoutError: it runs on.
        """
        if not self._wait(seconds):
            raise TimeoutError(f"process {self.pid} runs on after {seconds:g} s")
        assert self._status is not None
        return self._status

    def _wait(self, seconds: float) -> bool:
        if self._status is None and select.select([self._line], [], [], seconds)[0]:
            self._status = int(self._answers.readline() or -signal.SIGKILL)
            self._line.close()
        return self._status is not None

    def kill(self) -> None:
        """SIGKILL it and all of its session, and wait."""
        while self.status is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.01)
