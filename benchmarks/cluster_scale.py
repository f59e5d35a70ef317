"""Simulates one driver with up to 1,000 workers: its rows, computing and memory; where it bends.

The driver is the real one without Ray: `SearchState` with its proposals, a sealed row on disk for
every evaluation, TensorBoard's files. Workers are events on a virtual clock. The driver does one
thing at a time there: each of its calls takes the time that it really computed, and each trial
another `--ray-ms`, which the soak measured. So a worker that ends waits for its row, and for all
rows before it. Trial times are those of a real search, recorded first, with their mean scaled to
`--means`.

    busy             share of the workers' time in trials, until the last trial started
    rows_per_second  rows written, in virtual time
    driver_share     share of the virtual time in which the driver works
    own_share        the same without Ray's part
    own_ms           the driver's own computing for an evaluation: the mean, in real time
    longest_ms       the longest single call: all workers that end meanwhile wait for it
    kb               memory of the driver, for each evaluation

`rows` has a population of as many as workers, and the largest lookahead; `slow_rows` is the same
for the middle mean where each row takes `--slow-ms` more, as on a store that is far away.
`settings_at_most_workers` compares choices of population and lookahead for the most workers, on
the proposals alone. Prints one JSON line.

    python -m benchmarks.cluster_scale [--workers 2 16 128 512 1000] [--means 1 10 100]
"""

from __future__ import annotations

import argparse
import gc
import heapq
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.ledger import UNITS, measure
from benchmarks.memory import resident_mb
from benchmarks.record import begin
from benchmarks.runs import clocked, revo_ray, rows_of
from benchmarks.utilisation import make_proposals, simulate
from revo_ray.evolve.proposals import MOST_AHEAD
from revo_ray.methods import make_method
from revo_ray.run.shown import show_in_tensorboard
from revo_ray.rundir import RunDirectory
from revo_ray.search.core.requests import Request
from revo_ray.search.core.state import SearchState
from revo_ray.settings.schema import SearchConfig

MEASURES = (
    *("revo_ray/evolve", "revo_ray/methods", "revo_ray/monitor", "revo_ray/rundir"),
    *("revo_ray/search/core", "revo_ray/storage.py"),
    *("benchmarks/ledger.py", "benchmarks/utilisation.py"),
)
RECORDED = (
    *("model.name=timm/test_byobnet", "model.weights=none", "data.image_size=16"),
    *("method.name=revo-mixed", "resources.max_concurrent=1"),
)
"""The search whose trial times are recorded: freeze bits make them unequal."""
SHARES = ((0.25, 0.75), (0.5, 0.5), (0.5, 1.5), (1, 0), (1, 1), (1, 3), (2, 0), (2, 2), (4, 0))
"""Population and lookahead of `settings`, in workers."""
ROUNDS = 8
"""Evaluations for each worker, in `settings`."""

T = TypeVar("T")


def record_times(evaluations: int, settings: Sequence[str]) -> list[float]:
    """Seconds of training and validation of each evaluation of a real search, but the first.

    That one is slower: it is the first that its worker makes.
    """
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        clocked(
            revo_ray(
                "search",
                "name=recorded",
                f"storage={folder}",
                f"search.evaluations={evaluations}",
                *RECORDED,
                *settings,
            )
        )
        rows = rows_of(Path(folder) / "recorded")
    return [round(row.seconds, 4) for row in rows[1:] if row.seconds > 0]


@dataclass
class Driver:
    """A driver's clock, which moves by what its calls take.

    Attributes:
        now: virtual seconds.
        own: seconds that all calls computed.
        longest: of one call.
    """

    now: float = 0.0
    own: float = 0.0
    longest: float = 0.0

    def do(self, call: Callable[[], T]) -> T:
        """Make a call."""
        began = time.process_time()
        found = call()
        taken = time.process_time() - began
        self.now += taken
        self.own += taken
        self.longest = max(self.longest, taken)
        return found


@dataclass
class Fleet:
    """Workers on a virtual clock, each with one trial at a time."""

    workers: int
    draw: Callable[[int], float]
    running: list[tuple[float, int, Request]] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)

    def start(self, request: Request, at: float) -> None:
        """Begin a trial."""
        assert request.proposal is not None
        number = request.proposal.evaluation
        self.spans.append((at, at + self.draw(number)))
        heapq.heappush(self.running, (self.spans[-1][1], number, request))

    @property
    def idle(self) -> int:
        """Workers without a trial."""
        return self.workers - len(self.running)

    @property
    def busy(self) -> float:
        """The share of the workers' time in trials, until the last trial started."""
        last = max(start for start, _ in self.spans)
        worked = sum(max(0.0, min(end, last) - start) for start, end in self.spans)
        return worked / (self.workers * last)


def run(state: SearchState, fleet: Fleet, ray_s: float, slow_s: float) -> Driver:
    """Run a search to the end of its budget."""
    driver = Driver()
    while not state.spent:
        while fleet.idle and (request := driver.do(state.next_request)) is not None:
            fleet.start(request, driver.now)
        ended, number, request = heapq.heappop(fleet.running)
        driver.now = max(driver.now, ended) + ray_s + slow_s
        proposal, measured = request.proposal, measure(request.config)
        assert proposal is not None
        driver.do(partial(state.record, proposal, measured, "trial"))
        driver.do(partial(state.tell, number))
    return driver


def figures(
    workers: int, evaluations: int, draw: Callable[[int], float], ray_s: float, slow_s: float = 0.0
) -> dict[str, float]:
    """One simulated search."""
    gc.collect()
    before = resident_mb()
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        state = open_state(folder, workers, evaluations)
        fleet = Fleet(workers, draw)
        driver = run(state, fleet, ray_s, slow_s)
        assert len(state.ledger) == evaluations
        grew = resident_mb() - before
    handled = evaluations * (ray_s + slow_s)
    return {
        "evaluations": evaluations,
        "busy": round(fleet.busy, 3),
        "rows_per_second": round(evaluations / driver.now, 3),
        "driver_share": round((driver.own + handled) / driver.now, 4),
        "own_share": round(driver.own / driver.now, 4),
        "own_ms": round(1000 * driver.own / evaluations, 3),
        "longest_ms": round(1000 * driver.longest, 1),
        "kb": round(1024 * grew / evaluations, 1),
    }


def open_state(folder: str, workers: int, evaluations: int) -> SearchState:
    """A search whose population is as many as its workers, with the largest lookahead."""
    size = max(10, workers)
    config = SearchConfig.load(
        None,
        [
            *(f"search.evaluations={evaluations}", f"search.population={size}"),
            *(f"search.lookahead={MOST_AHEAD * size}", "name=simulated"),
        ],
    )
    method = make_method(config.method)
    state = SearchState(config, RunDirectory(folder), method, list(UNITS), {}, {})
    show_in_tensorboard(state)
    return state


def choices(workers: int, times: Sequence[float]) -> dict[str, dict[str, float]]:
    """The busy share under choices of population and lookahead."""
    found = {}
    for population, lookahead in SHARES:
        size, ahead = max(4, round(population * workers)), round(lookahead * workers)
        proposals = make_proposals(size, ahead, ROUNDS * workers, seed=0)
        busy = simulate(proposals, workers, lambda rng: rng.choice(times)).busy
        found[f"population {population:g} lookahead {lookahead:g}"] = {
            "population": size,
            "lookahead": ahead,
            "busy": round(busy, 3),
        }
    return found


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 16, 128, 512, 1000])
    parser.add_argument("--means", type=float, nargs="+", default=[1, 10, 100], help="seconds")
    parser.add_argument("--each", type=int, default=6, help="evaluations for each worker")
    parser.add_argument("--least", type=int, default=200, help="evaluations of a search, at least")
    parser.add_argument("--ray-ms", type=float, default=15.0, help="Ray's part of a trial")
    parser.add_argument("--slow-ms", type=float, default=50.0, help="a row's more, in `slow_rows`")
    parser.add_argument("--recorded", type=int, default=60, help="evaluations to take times from")
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of those")
    arguments, record = begin(parser, "cluster_scale", MEASURES)
    times = record_times(arguments.recorded, arguments.settings)
    mean = statistics.mean(times)

    def draw(number: int, seconds: float) -> float:
        return seconds * random.Random(number).choice(times) / mean

    ray_s, slow_s = arguments.ray_ms / 1000, arguments.slow_ms / 1000
    line: dict[str, Any] = vars(arguments) | {
        "recorded_mean_s": round(mean, 3),
        "recorded_over_mean": round(max(times) / mean, 2),
        "recorded_cv": round(statistics.pstdev(times) / mean, 3),
    }
    means = sorted(arguments.means)
    middle = means[len(means) // 2]
    for name, chosen, slow in (("rows", means, 0.0), ("slow_rows", [middle], slow_s)):
        line[name] = {
            f"mean_{seconds:g}_s": {
                str(workers): figures(
                    workers,
                    max(arguments.least, arguments.each * workers),
                    partial(draw, seconds=seconds),
                    ray_s,
                    slow,
                )
                for workers in arguments.workers
            }
            for seconds in chosen
        }
    line["settings_at_most_workers"] = choices(max(arguments.workers), times)
    line["recorded_seconds"] = times
    record.finish(line, [0])


if __name__ == "__main__":
    main()
