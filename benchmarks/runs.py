"""Whole programs under a clock, the workers' time of a finished search, and scores as numbers."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from typing import Any

import psutil

from revo_ray.objective import Scores
from revo_ray.rundir import Evaluation, RunDirectory

ROOT = Path(__file__).parents[1]
EVERY_S = 3.0
"""Five looks a second would cost a search on two cores a twentieth of its time."""


@dataclass(frozen=True)
class Clocked:
    """A program that ended.

    Attributes:
        began: seconds since 1970, when it was started.
        seconds: from there to its end.
        cpu: seconds of computing, its own and that of all processes below it, to within what
            each did in the last seconds of its life. Unlike `seconds`, it does not grow much when
            others use the machine.
        output: what it printed.
    """

    began: float
    seconds: float
    cpu: float
    output: str


def clocked(command: Sequence[str], **environment: str) -> Clocked:
    """Run a program to its end.

    Raises:
        RuntimeError: it failed, with the end of what it said.
    """
    began = time.time()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "120"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    spent: dict[tuple[int, float], float] = {}
    watcher = threading.Thread(target=_watch, args=(process, spent), daemon=True)
    watcher.start()
    try:
        output, _ = process.communicate()
    finally:
        if process.poll() is None:
            process.terminate()  # this program was interrupted
    seconds = time.time() - began
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {output[-2000:]}")
    return Clocked(began, seconds, sum(spent.values()), output)


def _watch(process: subprocess.Popen[str], spent: dict[tuple[int, float], float]) -> None:
    """Note, by process, what all of them have computed so far; they vanish when they end."""
    root = psutil.Process(process.pid)
    while process.poll() is None:
        with suppress(psutil.Error):
            for each in [root, *root.children(recursive=True)]:
                with suppress(psutil.Error):
                    times = each.cpu_times()
                    spent[each.pid, each.create_time()] = times.user + times.system
        time.sleep(EVERY_S)


def revo_ray(command: str, *settings: str, preset: str | None = None) -> list[str]:
    """A command line of this project's own program."""
    words = [sys.executable, "-m", "revo_ray", command, *([preset] if preset else [])]
    return words + [word for setting in settings for word in ("--set", setting)]


def rows_of(run: Path) -> list[Evaluation]:
    """The ledger of a run directory, in proposal order."""
    return list(RunDirectory(str(run)).ledger())


def loss_of(scores: Scores) -> float:
    """The loss; infinity if the training diverged."""
    return math.inf if scores.loss is None else scores.loss


def percent(share: float | None) -> float:
    """A share in percent; NaN if it is not defined."""
    return math.nan if share is None else 100 * share


def use_of_time(rows: Sequence[Evaluation], workers: int) -> dict[str, Any]:
    """The work of the workers from the first evaluation's start until the last one started.

    Args:
        rows: of one or more searches that ran together.
        workers: that they had.

    Returns:
        `trained`: the part of the workers' time in which they trained and validated (the ledger's
        `seconds`); `held`: the same with what they loaded, from each evaluation's start to its
        end; `handover_ms`; `evaluations`, and the mean seconds that one took.
    """
    rows = sorted((row for row in rows if row.seconds > 0), key=lambda row: row.started_at)
    held = [row.finished_at - row.started_at for row in rows]
    last_start = rows[-1].started_at
    within = [
        min(1.0, (last_start - row.started_at) / whole)
        for row, whole in zip(rows, held, strict=True)
    ]
    trained = [row.seconds for row in rows]
    time_of_workers = workers * (last_start - rows[0].started_at)
    return {
        "evaluations": len(rows),
        "mean_evaluation_s": round(statistics.mean(held), 3),
        "trained": round(sum(map(mul, trained, within)) / time_of_workers, 4),
        "held": round(sum(map(mul, held, within)) / time_of_workers, 4),
        "handover_ms": handover_ms(rows, workers),
    }


def handover_ms(rows: Sequence[Evaluation], workers: int) -> float | None:
    """The median time from one evaluation's end to the next one's start in the same worker.

    Only where all other workers were at work is it known who took it. None: nowhere.
    """
    waits = []
    for row in rows:
        before = [other for other in rows if other.started_at < row.started_at]
        at_work = [other for other in before if other.finished_at > row.started_at]
        if len(at_work) == workers - 1 and len(before) >= workers:
            waits.append(row.started_at - max(o.finished_at for o in before if o not in at_work))
    return round(1000 * statistics.median(waits), 1) if waits else None
