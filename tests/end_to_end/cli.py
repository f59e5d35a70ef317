"""The command line as a user types it, on a small network: real Ray, real torch, real images."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from revo_ray.cli.main import main
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.ledger import Ledger
from revo_ray.storage import Storage
from tests.forks.client import HOOKS, without_forks

ROOT = Path(__file__).parents[2]

PATH = [str(HOOKS), str(ROOT)]
"""Where the command finds this package, and what a test installs beside it."""

SMALL = (
    "model.name=timm/test_efficientnet",
    "model.weights=none",
    "data.image_size=32",
    "train.epochs=2",
    "train.batch_size=32",
    "search.evaluations=23",
)
"""A quarter of a second an evaluation: 18 units, BatchNorm, the quick start's 89 digits."""

ONE_WORKER = {"resources__max_concurrent": "1"}
"""For small searches: a second worker takes longer to load than it saves."""

TWO_GENERATIONS = {"search__evaluations": "13"}


def generations(lookahead: int) -> dict[str, str]:
    """The sweep and a second generation; with lookahead, which the sweep has none of, a third."""
    population = "4" if lookahead else "10"
    return {"search__lookahead": str(lookahead), "search__population": population} | TWO_GENERATIONS


MOMENTS = {"trial_id", "attempts", "seconds", "node", "device", "started_at", "finished_at"}


class Cli:
    """The command line with a folder of its own.

    `start` and `run_alone` are for what has to do with processes. `run` is for the rest; it takes
    the libraries that this process has imported.

    Attributes:
        folder: where the run directories are written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self, *arguments: str, small: bool = True, forks: bool = True, **overrides: str
    ) -> Any:
        """Start `python -m revo_ray`; keywords are options of `--set` (dots as two underscores).

        Args:
            forks: whether it and its workers may be forks, with the libraries imported.
        """
        environment = dict(os.environ) if forks else without_forks()
        environment |= {"PYTHONPATH": os.pathsep.join(PATH), "COLUMNS": "100"}
        process = subprocess.Popen(
            [sys.executable, "-m", "revo_ray", *self._words(arguments, small, overrides)],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def run_alone(self, *arguments: str, **overrides: Any) -> subprocess.CompletedProcess[str]:
        """Run `python -m revo_ray` to its end."""
        process = self.start(*arguments, **overrides)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(
        self, *arguments: str, small: bool = True, **overrides: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in this process, on its own Ray unless one is connected."""
        words = ["revo-ray", *self._words(arguments, small, overrides)]
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.object(sys, "argv", words),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as end,
        ):
            main()
        assert isinstance(end.value.code, int)
        return subprocess.CompletedProcess(words, end.value.code, out.getvalue(), err.getvalue())

    def _words(self, arguments: Iterable[str], small: bool, overrides: dict[str, str]) -> list[str]:
        sets = [f"storage={self.folder}", *(SMALL if small else ())]
        sets += [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()]
        return [*arguments, *(part for item in sets for part in ("--set", item))]

    def ledger(self, name: str) -> list[Evaluation]:
        """The rows of a run directory."""
        return list(Ledger.load(Storage(str(self.folder / name))))

    def facts(self, name: str) -> list[dict[str, Any]]:
        """The rows without what differs from run to run: moments, places and durations."""
        rows = []
        for row in self.ledger(name):
            facts = row.model_dump(exclude=MOMENTS)
            for point in facts["curve"]:
                del point["seconds"]
            rows.append(facts)
        return rows

    def wait_for_rows(self, name: str, count: int, process: Any) -> None:
        """Until a running search has that many rows."""
        ledger = self.folder / name / "ledger"
        self.wait_for(lambda: len(list(ledger.glob("*.json"))) >= count, process)

    def wait_for(self, condition: Callable[[], bool], process: Any) -> None:
        """Until a running search has come that far."""
        deadline = time.monotonic() + 240
        while not condition():
            assert time.monotonic() < deadline, "it never came so far"
            if process.poll() is not None:
                out, err = process.communicate()
                raise AssertionError(f"the search ended ({process.returncode}): {out}\n{err}")
            time.sleep(0.05)

    def kill(self, process: Any) -> None:
        """SIGKILL it and all that it started, and wait until nobody holds its output."""
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)

    def close(self) -> None:
        """Leave nothing running."""
        for process in self._started:
            if process.poll() is None:
                self.kill(process)


Undisturbed = Callable[[int], Cli]
"""A fixture: the folder with the search `undisturbed`, by its lookahead."""
