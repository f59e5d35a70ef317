"""`python -m revo_ray` as a process of its own, which may kill itself at an exact point."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil

from tests.forks.client import Fork


class Driver(Fork):
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
        stem = folder / f"driver-{time.monotonic_ns()}"
        self._out, self._err = (Path(f"{stem}.{name}") for name in ("out", "err"))
        environment = os.environ | environment
        if point is not None:
            environment["FAULTS_POINT"] = " ".join(map(str, point))
        self.began = time.monotonic()
        super().__init__(["-m", "revo_ray", *words], folder, environment, self._out, self._err)

    @property
    def stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the driver alone, if it runs."""
        if self.status is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Wait for its end.

        Raises:
            TimeoutError: it runs on.
        """
        try:
            return super().wait(seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.out[-500:]}") from None
