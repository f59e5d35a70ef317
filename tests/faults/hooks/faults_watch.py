"""Every process of a disturbed search loads this first.

It tells what only the process itself knows (which training began and ended, when it noticed
that the clock jumped) and lets the clock jump. The product knows nothing of it.

`FAULTS_FOLDER` holds `log`, a line for each event (moment, process, raylet, run, evaluation, what),
and `clock`, the seconds that `time.time` is to be wrong by. Moments are those of `time.monotonic`,
which all processes of a machine share and no jump reaches. `FAULTS_POINT` is the point where this
process is to kill itself, and at which call of it.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

FOLDER = os.environ["FAULTS_FOLDER"]
WATCHED = "revo_ray.search.ray.trial"


def log(what: str, run: str = "-", evaluation: int = -1) -> None:
    """Append an event; short lines, so those of several processes never mix."""
    raylet = os.environ.get("RAY_RAYLET_PID", 0)
    line = f"{time.monotonic():.6f} {os.getpid()} {raylet} {run} {evaluation} {what}\n"
    file = os.open(f"{FOLDER}/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)


def watch_trainings(module: ModuleType) -> None:
    """Log when an evaluation begins, and how it ends."""
    evaluate = module.evaluate

    def watched(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
        run = config["task"]["run"].partition("?")[0].rpartition("/")[2]
        log("began", run, config["evaluation"])
        try:
            for result in evaluate(config):
                if result["done"]:
                    failed = result["row"]["status"] == "error"
                    log("failed" if failed else "ended", run, config["evaluation"])
                yield result
        except GeneratorExit:
            raise
        except BaseException:
            log("failed", run, config["evaluation"])
            raise

    module.evaluate = watched  # type: ignore[attr-defined]


class Finder(importlib.machinery.PathFinder):
    """Finds the watched module as usual, and changes it when it is loaded."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        """The usual answer, for that module alone."""
        if name != WATCHED:
            return None
        spec = super().find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                watch_trainings(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class Clock:
    """`time.time` and `time.time_ns`, wrong by what `clock` says at that moment."""

    def __init__(self) -> None:
        self._time, self._time_ns = time.time, time.time_ns
        self._read_at, self._offset = -1, 0

    def offset(self) -> int:
        """Seconds; read again whenever the file changed."""
        try:
            changed = os.stat(f"{FOLDER}/clock").st_mtime_ns
        except OSError:
            return self._offset
        if changed != self._read_at:
            self._read_at = changed
            with open(f"{FOLDER}/clock") as file:
                offset = int(file.read() or 0)
            if offset != self._offset:
                self._offset = offset
                log(f"jumped:{offset}")
        return self._offset

    def time(self) -> float:
        return self._time() + self.offset()

    def time_ns(self) -> int:
        return self._time_ns() + self.offset() * 10**9


sys.meta_path.insert(0, Finder)
_clock = Clock()
time.time, time.time_ns = _clock.time, _clock.time_ns
if "FAULTS_POINT" in os.environ:
    from tests.faults.points import arm

    point, nth = os.environ.pop("FAULTS_POINT").split()
    arm(point, int(nth))
