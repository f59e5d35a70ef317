"""`python -m revo_ray` as a process of its own, which may kill itself at an exact point.

The process is forked from one that has imported the libraries (torch, Ray), since those take ten
seconds to import and a campaign starts a hundred drivers; it imports the product itself.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = ["torch", "torchvision", "timm", "ray.tune", "cmaes", "sklearn.metrics", "pyarrow.fs"]
ROOT = Path(__file__).parents[2]
HOOKS = Path(__file__).parent / "hooks"


@dataclass(frozen=True)
class Point:
    """A function of the product, and what a call of it must be about to count.

    Attributes:
        module, attribute: where it is.
        concerns: whether a call with these arguments counts.
    """

    module: str
    attribute: str
    concerns: Callable[..., bool] = lambda *arguments: True


def _writes(name: str) -> Callable[..., bool]:
    return lambda storage, path, *rest: path == name


POINTS = {
    # The row is on disk, its searcher does not know yet.
    "tell": Point("revo_ray.search.core.state", "SearchState.tell"),
    # The row is on disk, the best model is still the old one.
    "accept": Point("revo_ray.rundir.best_model", "BestModel.accept"),
    # The weights were moved, their description is the old one's.
    "describe": Point("revo_ray.storage", "Storage.write", _writes("best/config.json")),
    # The description is new, the plan is the old one's.
    "plan": Point("revo_ray.storage", "Storage.write", _writes("best/plan.json")),
    # The table of all rows is written, the result is not.
    "result": Point("revo_ray.storage", "Storage.write", _writes("result.json")),
    # A row's temporary file is whole, its name is not there yet.
    "replace": Point("os", "replace", lambda source, target: "/ledger/" in os.fspath(target)),
    # A row's temporary file is half written.
    "fsync": Point("os", "fsync", lambda file: "/ledger/" in os.readlink(f"/proc/self/fd/{file}")),
}
"""By the name of the function in whose call, before it does anything, the driver dies."""


def arm(name: str, nth: int) -> None:
    """Make this process kill itself at the n-th call of a point."""
    point = POINTS[name]
    owner: Any = importlib.import_module(point.module)
    *path, attribute = point.attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    original = getattr(owner, attribute)
    left = nth

    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        if point.concerns(*arguments):
            left -= 1
            if left == 0:
                if name == "fsync":
                    os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(owner, attribute, deadly)


def _main(
    words: list[str], folder: str, environment: dict[str, str], point: tuple[str, int] | None
) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.update(environment)
    for name, number in (("out", 1), ("err", 2)):
        file = os.open(environment["FAULTS_" + name.upper()], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.path[:0] = [str(HOOKS), str(ROOT)]
    sys.modules.pop("sitecustomize", None)  # this machine's own, if it has one
    importlib.import_module("sitecustomize")
    if point is not None:
        arm(*point)
    sys.argv = ["revo_ray", *words]
    runpy.run_module("revo_ray", run_name="__main__", alter_sys=True)


class Driver:
    """A running `python -m revo_ray`.

    Args:
        words: of the command line.
        folder: where it runs, and where its output goes.
        environment: what it has besides this process's.
        point: the point, and at which call of it, the driver kills itself.
    """

    def __init__(
        self,
        words: list[str],
        folder: Path,
        environment: dict[str, str],
        point: tuple[str, int] | None = None,
    ) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(LIBRARIES)
        stem = folder / f"driver-{time.monotonic_ns()}"
        self._out, self._err = (Path(f"{stem}.{name}") for name in ("out", "err"))
        outputs = {"FAULTS_OUT": str(self._out), "FAULTS_ERR": str(self._err)}
        self._process = context.Process(
            target=_main, args=(words, str(folder), environment | outputs, point)
        )
        self._process.start()
        self.began = time.monotonic()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    @property
    def stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    @property
    def out(self) -> str:
        return self._out.read_text() if self._out.exists() else ""

    @property
    def err(self) -> str:
        return self._err.read_text() if self._err.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the driver alone, if it runs."""
        if self.status is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Wait for its end.

        Raises:
            TimeoutError: it runs on.
        """
        self._process.join(seconds)
        if self.status is None:
            raise TimeoutError(f"the driver runs on after {seconds:g} s: {self.out[-500:]}")
        return self.status

    def kill(self) -> None:
        """SIGKILL it and all that it started, and wait."""
        if self.status is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.join()
