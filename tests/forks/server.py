"""The process that has imported the libraries, and its forks; see `client`.

It imports them when the first process asks for a fork, and ends with the last of those that hold a
line to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import shlex
import shutil
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("torch", "torchvision", "timm", "cmaes", "sklearn.metrics", "pandas", "pyarrow.fs"),
    *("pydantic", "requests", "rich", "typer"),
    *("aiohttp.web", "grpc.aio", "google.protobuf.descriptor", "prometheus_client"),
)
"""Not Ray, which reads its environment when it is loaded."""
M_MMAP_THRESHOLD = -3


@dataclass
class Request:
    """A command line of Python, with the environment, folder and files 0, 1 and 2 it asks for."""

    words: list[str]
    environment: dict[str, str]
    folder: str
    files: list[int]


class Server:
    """Forks a process for each request, and kills it when the line of who asked is cut."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._lines: dict[int, socket.socket] = {}
        """By the process that was made for who is at the other end."""
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._ended, wakes = socket.socketpair()
        for end in (self._ended, wakes):
            end.setblocking(False)
        self._wakes = wakes
        signal.set_wakeup_fd(wakes.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._ended, selectors.EVENT_READ)

    def serve(self) -> Request | None:
        """Return a request in the process that is made for it, and None when nobody is left."""
        served = False
        while not served or len(self._selector.get_map()) > 2 or self._lines:
            for key, _ in self._selector.select():
                line: Any = key.fileobj
                if line is self._listener:
                    self._selector.register(line.accept()[0], selectors.EVENT_READ)
                    served = True
                elif line is self._ended:
                    self._ended.recv(1000)
                    self._tell_ends()
                elif (request := self._read(line)) is not None:
                    return request
        return None

    def _read(self, line: socket.socket) -> Request | None:
        try:
            size, files, _, _ = socket.recv_fds(line, 4, 3)
        except OSError:
            size = b""
        if not size:
            self._hang_up(line)
            return None
        with line.makefile("rb") as asks:
            words, environment, folder = json.loads(asks.read(int.from_bytes(size, "big")))
        load_libraries()
        child = os.fork()
        if not child:
            os.setsid()
            self._leave()
            return Request(words, environment, folder, files)
        for file in files:
            os.close(file)
        self._lines[child] = line
        _send(line, child)
        return None

    def _hang_up(self, line: socket.socket) -> None:
        self._selector.unregister(line)
        line.close()
        for child, other in self._lines.items():
            if other is line:
                for kill in (os.kill, os.killpg):  # it may have no group yet
                    with contextlib.suppress(ProcessLookupError):
                        kill(child, signal.SIGKILL)

    def _tell_ends(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                line = self._lines.pop(found[0], None)
                if line is not None and line.fileno() >= 0:
                    _send(line, os.waitstatus_to_exitcode(found[1]))

    def _leave(self) -> None:
        """Forget, in a child, all that is the server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        held = [key.fileobj for key in self._selector.get_map().values()]
        self._selector.close()
        for end in (*held, self._wakes):
            end.close()  # type: ignore[union-attr]


def _send(line: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        line.sendall(b"%d\n" % number)


def load_libraries() -> None:
    """Import them, once."""
    if LIBRARIES[-1] not in sys.modules:
        for name in LIBRARIES:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()


def become(request: Request) -> None:
    """Be the process that was asked for."""
    for number, file in enumerate(request.files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, int(os.environ["MALLOC_MMAP_THRESHOLD_"]))
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", 1 if os.isatty(1) else -1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.modules["numpy"].random.seed()
    sys.orig_argv = request.words
    executable, program, *words = request.words
    if executable != sys.executable:
        _forget_this_project()
        sys.executable = executable
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [str(Path(path).absolute()) for path in paths]  # instead of this file's folder
    if "FAULTS_FOLDER" in os.environ:
        importlib.import_module("faults_watch")
    if program == "-m":
        sys.argv = ["-m", *words[1:]]
        sys.path.insert(0, os.getcwd())
        runpy._run_module_as_main(words[0])
    else:
        os.execvp = _go_on_as  # type: ignore[assignment]
        _run_script(program, words)


def _forget_this_project() -> None:
    """The environment that asks has all packages of this one, but for an editable install."""
    sys.path[:] = [path for path in sys.path if "__editable__" not in path]
    sys.meta_path[:] = [
        finder
        for finder in sys.meta_path
        if "__editable__" not in getattr(finder, "__module__", "")
    ]


def _run_script(path: str, words: list[str]) -> None:
    sys.argv = [path, *words]
    sys.path.insert(0, os.path.dirname(path))
    runpy.run_path(path, run_name="__main__")


def _go_on_as(file: str, args: list[str]) -> None:
    """Ray's first program of a worker replaces itself, by way of a shell, by the second."""
    words = shlex.split(args[-1])
    if words[:2] != ["exec", sys.executable] or not words[2].endswith("/default_worker.py"):
        os.execv(shutil.which(file) or file, args)
    del sys.path[0]
    _run_script(words[2], words[3:])


def main(listener: int, folder: str) -> None:
    """Serve until nobody is left; or be what was asked for."""
    request = Server(socket.socket(fileno=listener)).serve()
    if request is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        become(request)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
