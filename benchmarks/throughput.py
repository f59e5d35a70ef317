"""How many evaluations a second one driver carries, against Ray Tune's own random search.

A trivial objective over 54 units, on a local Ray with as many logical CPUs as trials run at once.
`search` is this project whole: proposals of revo-continuous, a sealed row for every evaluation,
TensorBoard's files, the best model's bookkeeping, the result. `ray` is `tune.run` with
`BasicVariantGenerator` over the same space in the same reused trainable, without any logs; and
`ray_logged` the same with the files that Tune writes by default. Rates and the driver's computing
are measured from the end of the first fifth of the evaluations, when workers are up, to the end of
the last; `seconds` is the whole call. The programs take turns. Prints one JSON line.

    python -m benchmarks.throughput [--evaluations 1000] [--concurrent 2 8 32] [--repeats 2]
"""

from __future__ import annotations

import argparse
import cProfile
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import tune
from ray.tune.search import BasicVariantGenerator

from benchmarks.record import begin
from revo_ray.methods import make_method
from revo_ray.run.shown import show_in_tensorboard
from revo_ray.rundir import Evaluation, RunDirectory
from revo_ray.search.core.state import SearchState
from revo_ray.search.core.summary import write_result
from revo_ray.search.ray.experiment import ENVIRONMENT, run_experiment
from revo_ray.search.ray.resources import TrialResources
from revo_ray.settings.schema import SearchConfig

MEASURES = (
    *("revo_ray/evolve", "revo_ray/methods", "revo_ray/monitor", "revo_ray/rundir"),
    *("revo_ray/search", "revo_ray/storage.py"),
)
UNITS = 54
EPOCHS = 10
WARM = 0.2
"""Evaluations that pay for the workers' start."""


@dataclass(frozen=True)
class Layer:
    """A unit of a network that nobody builds."""

    name: str
    head: bool = False


class Trivial(tune.Trainable):
    """A sum of squares, reported as an evaluation of ten epochs; the worker is reused."""

    def step(self) -> dict[str, Any]:
        """The value, at once."""
        if "make" in self.config:  # there are no weights, and no images to test
            return {"error": None, "made": True, "done": True}
        now = time.time()
        loss = sum((rate - 0.01) ** 2 for rate in self.config["plan"]["unit_lrs"])
        curve = [
            {"epoch": epoch, "train_loss": loss, "images": 89 * epoch, "seconds": float(epoch)}
            for epoch in range(1, EPOCHS + 1)
        ]
        curve[-1] |= {"val_loss": loss, "val_accuracy": 0.5, "val_auc": 0.5}
        row = {"status": "ok", "val_loss": loss, "curve": curve, "epochs": EPOCHS}
        row |= {"node": "here", "device": "cpu", "started_at": now, "finished_at": now}
        return {"row": row, "val_loss": loss, "cold": False, "done": True, "whole": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Nothing to reset."""
        return True


@dataclass
class Clock:
    """When evaluations ended, and what this process had computed by then."""

    first: int
    last: int
    ended: int = 0
    marks: list[tuple[int, float, float]] = field(default_factory=list)

    def __call__(self, _: Evaluation | None = None) -> None:
        """One more has ended."""
        self.ended += 1
        if self.ended in (self.first, self.last):
            self.marks.append((self.ended, time.perf_counter(), time.process_time()))

    def figures(self) -> dict[str, float]:
        """Evaluations a second, and the driver's computing, once all is warm."""
        (first, began, busy), (last, ended, total) = self.marks
        evaluations, wall = last - first, ended - began
        return {
            "per_second": evaluations / wall,
            "driver_cpu": (total - busy) / wall,
            "driver_ms": 1000 * (total - busy) / evaluations,
        }


class Counter(tune.Callback):
    """Tells a clock of each trial that ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """One more."""
        self._clock()


def search(evaluations: int, concurrent: int, clock: Clock) -> None:
    """The whole of a search."""
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        config = SearchConfig.load(
            None,
            [
                f"search.evaluations={evaluations}",
                f"search.population={max(10, concurrent)}",
                f"search.lookahead={concurrent}",
                "search.keep=1",  # no soup
            ],
        )
        units = [Layer(f"layer{number}", head=number == UNITS - 1) for number in range(UNITS)]
        state = SearchState(
            config,
            RunDirectory(folder),
            make_method(config.method),
            list(units),
            {},
            {},
        )
        show_in_tensorboard(state)
        state.listeners.append(clock)

        def finish(state: SearchState) -> None:
            write_result(state)

        run_experiment([state], TrialResources(1, 0), None, finish, trial=Trivial)
        assert len(state.ledger) == evaluations


def ray_alone(evaluations: int, concurrent: int, clock: Clock) -> None:
    """Tune's random search over the same space, in the same worker."""
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        space = {"plan": {"unit_lrs": [tune.loguniform(1e-4, 1.0) for _ in range(UNITS)]}}
        done = tune.run(
            Trivial,
            name="tune",
            config=space,
            search_alg=BasicVariantGenerator(max_concurrent=concurrent),
            callbacks=[Counter(clock)],
            num_samples=evaluations,
            resources_per_trial={"cpu": 1},
            reuse_actors=True,
            storage_path=folder,
            verbose=0,
        )
        assert len(done.trials) == evaluations


PROGRAMS: dict[str, Callable[[int, int, Clock], None]] = {
    "search": search,
    "ray": ray_alone,
    "ray_logged": ray_alone,
}


def measure(name: str, evaluations: int, concurrent: int, profile: str | None) -> dict[str, float]:
    """One run of one program, on a Ray of its own."""
    os.environ.update(ENVIRONMENT)
    if name == "ray_logged":
        del os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"]
    clock = Clock(first=round(WARM * evaluations), last=evaluations)
    with ExitStack() as stack:
        ray.init(address="local", num_cpus=concurrent, include_dashboard=False,
                 log_to_driver=False, logging_level=logging.ERROR)  # fmt: skip
        stack.callback(ray.shutdown)
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        profiler = cProfile.Profile(time.thread_time) if profile == name else None
        began = time.perf_counter()
        with profiler or nullcontext():
            PROGRAMS[name](evaluations, concurrent, clock)
        seconds = time.perf_counter() - began
        if profiler is not None:
            profiler.dump_stats(f"{name}-{concurrent}.prof")
    return clock.figures() | {"seconds": seconds}


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--evaluations", type=int, default=1000)
    parser.add_argument("--concurrent", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--programs", nargs="+", default=list(PROGRAMS), choices=PROGRAMS)
    parser.add_argument("--profile", choices=PROGRAMS, help="write its cProfile to this folder")
    arguments, record = begin(parser, "throughput", MEASURES)
    line: dict[str, Any] = {"evaluations": arguments.evaluations}
    for concurrent in arguments.concurrent:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in arguments.programs}
        for _ in range(arguments.repeats):
            for name, made in runs.items():
                figures = measure(name, arguments.evaluations, concurrent, arguments.profile)
                made.append(figures)
        at_once: dict[str, Any] = {
            name: {key: round(statistics.mean(run[key] for run in made), 3) for key in made[0]}
            for name, made in runs.items()
        }
        if {"search", "ray"} <= at_once.keys():
            ratio = at_once["search"]["per_second"] / at_once["ray"]["per_second"]
            at_once["search_over_ray"] = round(ratio, 3)
        line[f"concurrent_{concurrent}"] = at_once
    record.finish(line, [0])


if __name__ == "__main__":
    main()
