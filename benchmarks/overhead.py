"""Measures the cost of a search beyond its training, against plain torch and the usual trainable.

`floor` runs `revo-ray search` on the quick start (EfficientNet-Lite0, digits), whole, from the
command's start to its exit; then the very plans of its ledger again in plain torch
(`benchmarks.plain`, which must train as the project does: `benchmarks.agreement`), `workers`
processes at once, and one process alone, one thread each:

    whole_over_floor      the command's seconds / those of the same fine-tunings, `workers` at once
    whole_over_one        the command's seconds × workers / those of the same, one by one
    steady_over_floor     as the first, from the first evaluation's start to the last one's end
    cpu_over_floor        computing of all processes of the command / that of the same fine-tunings;
                          others on the machine disturb it less than the clock

    whole_over_torch      as whole_over_one, and those have torch's own convolutions, where a search
                          has a faster way for small images (`finetune.training.depthwise`)
    program_over_program  the command's seconds / those of the `workers` plain processes, from their
                          start to the last one's exit

The plain processes' imports and loading are outside of all but the last, so the other
denominators are fine-tunings alone. `one` may run every `--sample`-th plan only, and is scaled up.
The part of the command outside the steady state is split into `start` (Python, Ray, the driver's
loading, the first worker's cold start) and `end` (the best model's test, Ray's shutdown).

The other parts run a search and then a function trainable (`benchmarks.practice`), as many
evaluations and as many at once, and compare evaluations an hour: over the whole programs, and
`warm`, from the end of each worker's first evaluation to the end of all:
`practice` at the quick start's size, `small` where one training takes less than a second on an
idle core (2 epochs of 20 images), `last` where features dominate (only the head trains, 50 epochs).

Every part is repeated `--repeats` times, each time in turn; figures are medians. Prints one JSON
line.

    python -m benchmarks.overhead [--parts floor practice small last] [--evaluations 100]
        [--workers 2] [--repeats 1] [--sample 4] [--set KEY=VALUE …] [--smoke]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.agreement import check
from benchmarks.plain import recorded
from benchmarks.record import begin
from benchmarks.runs import ROOT, Clocked, clocked, revo_ray, rows_of, use_of_time
from revo_ray.rundir import Evaluation, RunDirectory

MEASURES = (
    *("revo_ray", "baselines", "benchmarks/plain.py", "benchmarks/practice.py"),
    "benchmarks/runs.py",
)
PARTS: dict[str, tuple[str, ...]] = {
    "floor": (),
    "practice": (),
    "small": ("data.max_images=400", "train.epochs=2"),
    "last": ("method.name=last", "method.halving=none", "method.lr=[1e-5,0.1]", "train.epochs=50"),
}
"""Overrides of each part, beyond the quick start."""
SMOKE = ("data.max_images=400", "train.epochs=1")
NAME = "search"

Figures = dict[str, Any]


def search(folder: Path, settings: tuple[str, ...], evaluations: int, workers: int) -> Clocked:
    """A whole search, as the command line runs it."""
    return clocked(
        revo_ray(
            "search",
            f"name={NAME}",
            f"storage={folder}",
            f"search.evaluations={evaluations}",
            f"resources.max_concurrent={workers}",
            *settings,
        )
    )


def phases(command: Clocked, rows: list[Evaluation], run: Path, workers: int) -> Figures:
    """The seconds of a search's command, by what they were spent on."""
    first = min(row.started_at for row in rows)
    last = max(row.finished_at for row in rows)
    outcome = RunDirectory(str(run)).outcome()
    assert outcome is not None
    return {
        "seconds": command.seconds,
        "start": first - command.began,
        "steady": last - first,
        "end": command.began + command.seconds - last,
        "cpu": command.cpu,
        "cold_starts": outcome.cold_starts,
        "workers": use_of_time(rows, workers),
    }


def plain(
    run: Path,
    rows: list[Evaluation],
    processes: int,
    sample: int = 1,
    convolutions: str = "own",
) -> Figures:
    """The plans of a ledger in so many plain processes at once; every `sample`-th of them.

    `loss_apart` is the largest relative difference to a loss of the ledger: 0 if the bits are
    the same, and anything where rounding differs, since whole trainings multiply it.

    Raises:
        RuntimeError: a process failed.
    """
    launched = time.perf_counter()
    started = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.plain",
                str(run),
                str(part),
                str(processes * sample),
                convolutions,
            ],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()  # all is loaded
    began = time.perf_counter()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    lines = [process.communicate()[0] for process in started]
    seconds = time.perf_counter() - began
    if any(process.returncode for process in started):
        raise RuntimeError("a plain process failed")
    done = [each for line in lines for each in json.loads(line)]
    recorded = {row.evaluation: row.scores.loss for row in rows}
    apart = [
        abs(each["loss"] - (recorded[each["evaluation"]] or 0)) / each["loss"] for each in done
    ]
    share = len(done) / len(rows)
    return {
        "seconds": seconds / share,
        "program": began - launched + seconds / share,
        "cpu": sum(each["cpu"] for each in done) / share,
        "fine_tuning": statistics.mean(each["seconds"] for each in done),
        "loss_apart": max(apart),
    }


def floor(folder: Path, arguments: argparse.Namespace, settings: tuple[str, ...]) -> Figures:
    """A search against the same fine-tunings in plain torch."""
    workers = arguments.workers
    command = search(folder, settings, arguments.evaluations, workers)
    run = folder / NAME
    rows = [row for row in rows_of(run) if row.status == "ok"]
    found = phases(command, rows, run, workers)
    trained = next(tuple(row.unit_lrs) for row in rows if any(row.unit_lrs))
    check(*recorded(run), trained)
    at_once = plain(run, rows, workers)
    one = plain(run, rows, 1, arguments.sample)
    usual = plain(run, rows, 1, arguments.sample, "torch")
    return {
        "whole_over_floor": found["seconds"] / at_once["seconds"],
        "whole_over_one": found["seconds"] * workers / one["seconds"],
        "whole_over_torch": found["seconds"] * workers / usual["seconds"],
        "program_over_program": found["seconds"] / at_once["program"],
        "steady_over_floor": found["steady"] / at_once["seconds"],
        "steady_over_one": found["steady"] * workers / one["seconds"],
        "cpu_over_floor": found["cpu"] / at_once["cpu"],
        "search": found,
        "at_once": at_once,
        "one": one,
        "torch": usual,
    }


def against_practice(
    folder: Path, arguments: argparse.Namespace, settings: tuple[str, ...]
) -> Figures:
    """A search against a function trainable, by evaluations an hour."""
    evaluations, workers = arguments.trials, arguments.workers
    command = search(folder, settings, evaluations, workers)
    run = folder / NAME
    rows = [row for row in rows_of(run) if row.seconds]
    usual = clocked(
        [sys.executable, "-m", "benchmarks.practice", str(run), str(evaluations), str(workers)]
    )
    line = json.loads(usual.output.strip().splitlines()[-1])
    found = phases(command, rows, run, workers)
    warm = warm_an_hour([row.finished_at for row in rows], workers)
    usual_warm = warm_an_hour(line["ended"], workers)
    return {
        "warm_an_hour": warm,
        "usual_warm_an_hour": usual_warm,
        "warm_over_usual": warm / usual_warm,
        "an_hour": 3600 * evaluations / command.seconds,
        "usual_an_hour": 3600 * line["evaluations"] / usual.seconds,
        "over_usual": usual.seconds / command.seconds,
        "cpu_over_usual": command.cpu / usual.cpu,
        "search": found,
    }


def warm_an_hour(ended: list[float], workers: int) -> float:
    """Evaluations an hour from the end of each worker's first to the end of all."""
    ends = sorted(ended)
    return 3600 * (len(ends) - workers) / max(1e-3, ends[-1] - ends[workers - 1])


RUNS: dict[str, Callable[[Path, argparse.Namespace, tuple[str, ...]], Figures]] = {
    "floor": floor,
    "practice": against_practice,
    "small": against_practice,
    "last": against_practice,
}


def median_of(runs: list[Figures]) -> Figures:
    """The median of each figure, rounded."""
    found: Figures = {}
    for key, value in runs[0].items():
        if isinstance(value, dict):
            found[key] = median_of([run[key] for run in runs])
        else:
            known = [run[key] for run in runs if run[key] is not None]
            found[key] = float(f"{statistics.median(known):.4g}") if known else None
    return found


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--evaluations", type=int, default=100, help="of the floor")
    parser.add_argument("--trials", type=int, default=40, help="evaluations of the other parts")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--sample", type=int, default=4, help="one by one: every so-many-th plan")
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of all")
    parser.add_argument("--smoke", action="store_true", help="tiny trainings and few of them")
    arguments, record = begin(parser, "overhead", MEASURES)
    extra = tuple(arguments.settings)
    if arguments.smoke:
        extra, arguments.evaluations, arguments.trials, arguments.sample = (*SMOKE, *extra), 6, 4, 2
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.workers])
    runs: dict[str, list[Figures]] = {part: [] for part in arguments.parts}
    for _ in range(arguments.repeats):
        for part, made in runs.items():
            with tempfile.TemporaryDirectory(prefix="revo-") as folder:
                made.append(RUNS[part](Path(folder), arguments, (*PARTS[part], *extra)))
    line = vars(arguments) | {part: median_of(made) for part, made in runs.items()}
    record.finish(line, [0])


if __name__ == "__main__":
    main()
