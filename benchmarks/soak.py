"""A long search of tiny evaluations: does anything grow? Memory, open files, time an evaluation.

Runs `revo-ray search` whole, with real Ray and real trainings, and looks at its processes every
two seconds. Figures are by tenths of the evaluations, in the order of their ends:

    evaluation_ms  wall time an evaluation, the median over blocks of a generation
    worker_ms      from an evaluation's start to its end in its worker, the median
    driver_ms      the driver's computing, an evaluation
    driver_mb      resident memory of the driver, the median; the same for the largest worker
                   and for Ray's own processes together
    driver_files   open files of the driver, the most; the same for the worker with the most

`last_over_first` compares the last tenth's wall time with the first's; the growth is from the first
tenth to the last. Prints one JSON line.

    python -m benchmarks.soak [--evaluations 5000] [--workers 2]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from benchmarks.record import begin
from benchmarks.runs import ROOT, revo_ray, rows_of
from revo_ray.rundir import Evaluation

MEASURES = ("revo_ray", "baselines", "benchmarks/runs.py")
TINY = (
    *("model.name=timm/test_byobnet", "model.weights=none", "data.image_size=16"),
    *("data.max_images=200", "data.train_fraction=0.1", "train.epochs=1"),
)
NAME = "soak"
TENTHS = 10
BLOCK = 10
"""Evaluations of a generation."""
EVERY_S = 2.0
WORKER = "ray::"
"""Beginning of the names of Ray's workers; the rest of Ray are its own processes."""


@dataclass(frozen=True)
class Look:
    """A search's processes at a moment.

    Attributes:
        at: seconds since 1970.
        cpu: seconds that the driver has computed.
        driver_mb, worker_mb, ray_mb: resident memory of the driver, of the largest worker, and of
            Ray's own processes together.
        driver_files, worker_files: open files of the driver, and of the worker with the most.
    """

    at: float
    cpu: float
    driver_mb: float
    worker_mb: float
    ray_mb: float
    driver_files: int
    worker_files: int


@dataclass
class Watch:
    """Looks at a program until it ends."""

    process: subprocess.Popen[bytes]
    looks: list[Look] = field(default_factory=list)

    def run(self) -> None:
        """Look on."""
        driver = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            with suppress(psutil.Error):
                self.looks.append(look(driver))
            time.sleep(EVERY_S)


def look(driver: psutil.Process) -> Look:
    """The processes now."""
    workers, others = [(0.0, 0)], 0.0
    for each in driver.children(recursive=True):
        with suppress(psutil.Error):
            megabytes = each.memory_info().rss / 2**20
            if "".join(each.cmdline()[:1]).startswith(WORKER):
                workers.append((megabytes, each.num_fds()))
            else:
                others += megabytes
    times = driver.cpu_times()
    return Look(
        at=time.time(),
        cpu=times.user + times.system,
        driver_mb=driver.memory_info().rss / 2**20,
        worker_mb=max(megabytes for megabytes, _ in workers),
        ray_mb=others,
        driver_files=driver.num_fds(),
        worker_files=max(files for _, files in workers),
    )


def search(folder: Path, evaluations: int, workers: int, settings: Sequence[str]) -> list[Look]:
    """Run the search under a watch.

    Raises:
        RuntimeError: it failed, with the end of what it said.
    """
    command = revo_ray(
        "search",
        f"name={NAME}",
        f"storage={folder}",
        f"search.evaluations={evaluations}",
        f"search.population={BLOCK}",
        f"resources.max_concurrent={workers}",
        *TINY,
        *settings,
    )
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        watch = Watch(process)
        watcher = threading.Thread(target=watch.run, daemon=True)
        watcher.start()
        try:
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()  # this program was interrupted
        watcher.join()
        if process.returncode:
            output.seek(0)
            said = output.read()[-2000:].decode("utf-8", "replace")
            raise RuntimeError(f"the search ended with {process.returncode}: {said}")
    return watch.looks


def tenth(rows: Sequence[Evaluation], looks: Sequence[Look], began: float) -> dict[str, float]:
    """The figures of some evaluations that ended one after another.

    Args:
        rows: by their ends.
        looks: of the whole search.
        began: end of the evaluation before them.
    """
    ends = [began, *(row.finished_at for row in rows)]
    blocks = range(0, len(ends) - BLOCK, BLOCK)
    walls = [(ends[at + BLOCK] - ends[at]) / BLOCK for at in blocks] or [ends[-1] / len(rows)]
    moments = [each.at for each in looks]
    first, last = bisect_left(moments, ends[0]), bisect_left(moments, ends[-1])
    own = looks[max(0, min(first, last - 1)) : max(last, 1)]
    computed = (own[-1].cpu - own[0].cpu) / max(EVERY_S, own[-1].at - own[0].at)
    return {
        "evaluation_ms": round(1000 * statistics.median(walls), 1),
        "worker_ms": round(1000 * statistics.median(r.finished_at - r.started_at for r in rows), 1),
        "driver_ms": round(1000 * computed * (ends[-1] - ends[0]) / len(rows), 2),
        **{
            name: round(statistics.median(getattr(each, name) for each in own), 1)
            for name in ("driver_mb", "worker_mb", "ray_mb")
        },
        **{
            name: max(getattr(each, name) for each in own)
            for name in ("driver_files", "worker_files")
        },
    }


def figures(rows: Sequence[Evaluation], looks: Sequence[Look]) -> dict[str, Any]:
    """The figures of each tenth, and what grew from the first to the last."""
    rows = sorted(rows, key=lambda row: row.finished_at)
    count = len(rows)
    bounds = [round(count * at / TENTHS) for at in range(TENTHS + 1)]
    tenths = {}
    for number, (start, end) in enumerate(pairwise(bounds), start=1):
        before = rows[start - 1].finished_at if start else rows[0].started_at
        tenths[str(number)] = tenth(rows[start:end], looks, before)
    first, last = tenths["1"], tenths[str(TENTHS)]
    return {
        "last_over_first": round(last["evaluation_ms"] / first["evaluation_ms"], 3),
        "driver_last_over_first": round(last["driver_ms"] / max(0.01, first["driver_ms"]), 3),
        **{
            f"{name}_grew": round(last[name] - first[name], 1)
            for name in ("driver_mb", "worker_mb", "ray_mb", "driver_files", "worker_files")
        },
        "statuses": {
            status: sum(row.status == status for row in rows)
            for status in sorted({row.status for row in rows})
        },
        "seconds": round(rows[-1].finished_at - rows[0].started_at, 1),
        "tenths": tenths,
    }


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--evaluations", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE")
    arguments, record = begin(parser, "soak", MEASURES)
    os.environ.setdefault("COLUMNS", "120")
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        evaluations, workers = arguments.evaluations, arguments.workers
        looks = search(Path(folder), evaluations, workers, arguments.settings)
        rows = rows_of(Path(folder) / NAME)
    line = vars(arguments) | figures(rows, looks)
    record.finish(line, [0])


if __name__ == "__main__":
    main()
