"""Simulates how busy workers are when trials take unequal times, on a virtual clock.

The real searcher (`Proposals` over CMA-ES, as `revo-ray search` makes it for revo-continuous)
proposes to workers that are events in a queue: one that is free asks, one that gets nothing waits
for the next trial to end, and nothing else takes time. `busy` is the part of the workers' time
that they worked until the budget's last trial started; after that there is no work for all of
them. Times have the mean 1:

    uniform     between 0.5 and 1.5
    log-normal  sigma 0.5
    frozen      half of the trials take a fifth of the others' time

Each sample is a trial, also one that came before: two generations ahead at a population of 2,048,
the evolution's steps grow until most rates lie at an end of their range, where samples repeat.

A trial's value is a function of its sample, as in a real search, and its time one of the search's
seed and its number, so that no CPU's last digits decide. Lookahead 0 is the plain barrier. `half`
has, for as many workers as half the population, the least lookahead of those tried that keeps 95 %
of them busy, with the barrier's figure beside it; `ten` has the default population whole.
`proposals_equal`: whatever the workers and the times, a population, a lookahead and a seed gave the
same samples in the same order. Prints one JSON line.

    python -m benchmarks.utilisation [--workers 2 8 64 256 1024] [--generations 10] [--repeats 10]
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.record import begin
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Outcome, Proposal, Proposals
from revo_ray.methods.genome import ContinuousGenome

MEASURES = ("revo_ray/evolve", "revo_ray/methods/genome.py")
GENES = 21
"""Those of ResNet-18."""
SHARES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Lookaheads, of the population."""
ENOUGH = 0.95


@dataclass(frozen=True)
class Layer:
    """A unit of a network that nobody builds."""

    name: str
    head: bool = False


Draw = Callable[[random.Random], float]

TIMES: dict[str, Draw] = {
    "uniform": lambda rng: rng.uniform(0.5, 1.5),
    "log-normal": lambda rng: rng.lognormvariate(-0.125, 0.5),
    "frozen": lambda rng: rng.choice((1 / 3, 5 / 3)) * rng.uniform(0.9, 1.1),
}


def make_proposals(population: int, lookahead: int, budget: int, seed: int) -> Proposals[Any]:
    """The proposals of a search over so many rates."""
    units = [Layer(f"layer{number}", head=number == GENES - 1) for number in range(GENES)]
    space = ContinuousGenome(scale="log", low=-4, high=0, start=None).space(units)
    optimiser = CMAMV(space, population_size=population, seed=seed)
    return Proposals(optimiser, space, budget=budget, lookahead=lookahead)


def value(proposal: Proposal) -> float:
    """A sum of squares over the genes."""
    return sum((gene - 0.3) ** 2 for gene in proposal.sample.values())


def duration(proposal: Proposal, draw: Draw, seed: int) -> float:
    """How long a trial takes: the same for the same number, whoever runs it, and whenever."""
    return draw(random.Random(f"{seed}/{proposal.evaluation}"))


@dataclass(frozen=True)
class Run:
    """Figures of a simulated search.

    Attributes:
        busy: share of the workers' time that they worked, until the last trial started.
        proposed: a checksum of all samples, in the order of their numbers.
    """

    busy: float
    proposed: str


def simulate(proposals: Proposals[Any], workers: int, draw: Draw, seed: int = 0) -> Run:
    """Run a search to the end of its budget on a virtual clock; the seed is that of the times."""
    clock, free, last_start = 0.0, workers, 0.0
    running: list[tuple[float, int, Proposal]] = []  # heap by the time of their end
    spans: list[tuple[float, float]] = []
    samples: dict[int, str] = {}
    while not proposals.finished:
        while free and (proposal := proposals.ask()) is not None:
            samples[proposal.evaluation] = repr(proposal.sample)
            span = clock, clock + duration(proposal, draw, seed)
            spans.append(span)
            last_start = clock
            heapq.heappush(running, (span[1], proposal.evaluation, proposal))
            free -= 1
        clock, _, ended = heapq.heappop(running)
        free += 1
        proposals.tell(ended.evaluation, Outcome(value(ended)))
    worked = sum(max(0.0, min(end, last_start) - start) for start, end in spans)
    text = "\n".join(samples[number] for number in sorted(samples))
    return Run(
        busy=worked / (workers * last_start) if last_start else 1.0,
        proposed=hashlib.sha256(text.encode()).hexdigest()[:16],
    )


class Simulator:
    """Runs searches, and keeps what each proposed.

    Args:
        generations: of a search.
        repeats: seeds that a figure is the mean of; fewer where the population is large.
    """

    def __init__(self, generations: int, repeats: int) -> None:
        self._generations = generations
        self._repeats = repeats
        self._proposed: dict[tuple[int, int, int], set[str]] = {}

    def busy(self, population: int, lookahead: int, workers: int, kind: str) -> float:
        """The mean over the seeds."""
        runs = []
        for seed in range(max(1, min(self._repeats, 1280 // population))):
            budget = self._generations * population
            proposals = make_proposals(population, lookahead, budget, seed)
            run = simulate(proposals, workers, TIMES[kind], seed)
            self._proposed.setdefault((population, lookahead, seed), set()).add(run.proposed)
            runs.append(run.busy)
        return round(statistics.mean(runs), 3)

    def half(self, workers: int, kind: str) -> dict[str, float]:
        """Measures a double population: the barrier, and the least lookahead that is enough."""
        population = 2 * workers
        barrier = figure = self.busy(population, 0, workers, kind)
        for share in SHARES[1:]:
            lookahead = round(share * population)
            figure = self.busy(population, lookahead, workers, kind)
            if figure >= ENOUGH:
                break
        return {"barrier": barrier, "lookahead": lookahead, "busy": figure}

    @property
    def proposals_equal(self) -> bool:
        """Whether runs that should propose the same did."""
        return all(len(found) == 1 for found in self._proposed.values())


def main() -> None:
    """Simulate, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8, 64, 256, 1024])
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=10)
    arguments, record = begin(parser, "utilisation", MEASURES)
    simulator = Simulator(arguments.generations, arguments.repeats)
    line: dict[str, Any] = {**vars(arguments), "genes": GENES}
    line["half"] = {
        kind: {str(workers): simulator.half(workers, kind) for workers in arguments.workers}
        for kind in TIMES
    }
    line["ten"] = {
        kind: {
            f"lookahead_{lookahead}": {
                str(workers): simulator.busy(10, lookahead, workers, kind)
                for workers in (2, 4, 5, 8, 10)
            }
            for lookahead in (0, 2, 5, 10, 20, 30)
        }
        for kind in TIMES
    }
    line["proposals_equal"] = simulator.proposals_equal
    record.finish(line, range(arguments.repeats))


if __name__ == "__main__":
    main()
