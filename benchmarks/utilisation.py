"""How busy workers are when trials take unequal times: a search on a virtual clock.

The real searcher (`Proposals` over CMA-ES, as `revo-ray search` makes it for revo-continuous)
proposes to workers that exist as events in a queue: a worker that is free asks, one that gets
nothing waits for the next trial to end, and nothing else takes time. `busy` is the workers'
working time by the time that the last trial starts, when the budget can keep all of them busy, and
`whole` that of the whole search, over the workers' time. Times have the mean 1:

    uniform     between 0.5 and 1.5
    log-normal  sigma 0.5
    frozen      half of the genomes freeze most of the network and take 0.2 of the others' time

Every evaluation's time and value are functions of its sample, as in a real search, so that each
row also tells whether all its runs proposed the same. Lookahead 0 is the plain barrier. Prints one
JSON line.

    python -m benchmarks.utilisation [--generations 10] [--populations 10 64 2048] [--repeats 5]
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import json
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.genome import ContinuousGenome
from revo_ray.evolve.proposals import Outcome, Proposal, Proposals

GENES = 21
"""Those of ResNet-18."""
LOOKAHEADS = (0.0, 0.25, 0.5, 1.0)
"""Of the population."""
MOST_WORKERS = 1024


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
    """Who proposes in a search over so many rates."""
    units = [Layer(f"layer{number}", head=number == GENES - 1) for number in range(GENES)]
    space = ContinuousGenome(scale="log", low=-4, high=0, start=None).space(units)
    optimiser = CMAMV(space, population_size=population, seed=seed)
    return Proposals(optimiser, space.key, budget=budget, lookahead=lookahead, reuse=True)


def value(proposal: Proposal) -> float:
    """A sum of squares over the genes."""
    return sum((gene - 0.3) ** 2 for gene in proposal.sample.values())


def duration(proposal: Proposal, draw: Draw) -> float:
    """How long a trial takes: the same for the same sample, whoever runs it, and whenever."""
    digest = hashlib.sha256(repr(sorted(proposal.sample.items())).encode()).digest()
    return draw(random.Random(digest))


@dataclass(frozen=True)
class Run:
    """What a simulated search did.

    Attributes:
        busy: share of the workers' time that they worked, until the last trial started.
        whole: until the last trial ended.
        proposed: a checksum of all samples, in the order of their numbers.
    """

    busy: float
    whole: float
    proposed: str


def simulate(proposals: Proposals[Any], workers: int, draw: Draw) -> Run:
    """Run a search to the end of its budget on a virtual clock."""
    clock, free, last_start = 0.0, workers, 0.0
    running: list[tuple[float, int, Proposal]] = []  # heap by the time of their end
    spans: list[tuple[float, float]] = []
    samples: dict[int, str] = {}
    while not proposals.finished:
        while free and (proposal := proposals.ask()) is not None:
            samples[proposal.evaluation] = repr(proposal.sample)
            span = clock, clock + duration(proposal, draw)
            spans.append(span)
            last_start = clock
            heapq.heappush(running, (span[1], proposal.evaluation, proposal))
            free -= 1
        assert not proposals.take_answered(), "rates are real numbers: none comes twice"
        clock, _, ended = heapq.heappop(running)
        free += 1
        proposals.tell(ended.evaluation, Outcome(value(ended)))
    worked = sum(max(0.0, min(end, last_start) - start) for start, end in spans)
    whole = sum(end - start for start, end in spans)
    text = "\n".join(samples[number] for number in sorted(samples))
    return Run(
        busy=worked / (workers * last_start) if last_start else 1.0,
        whole=whole / (workers * clock),
        proposed=hashlib.sha256(text.encode()).hexdigest()[:16],
    )


def workers_for(population: int) -> list[int]:
    """Powers of two from 2 to 1,024 that are at most the population, and half of it."""
    powers = [2**power for power in range(1, 11)]
    return sorted({n for n in (*powers, population // 2) if n <= min(population, MOST_WORKERS)})


def measure(population: int, generations: int, repeats: int) -> dict[str, Any]:
    """Every distribution of times, lookahead and number of workers, for one population."""
    table: dict[str, Any] = {}
    proposed: dict[tuple[int, int], set[str]] = {}
    for kind, draw in TIMES.items():
        for share in LOOKAHEADS:
            lookahead = round(share * population)
            row = table.setdefault(kind, {}).setdefault(f"lookahead_{lookahead}", {})
            for workers in workers_for(population):
                runs = []
                for seed in range(repeats):
                    proposals = make_proposals(
                        population, lookahead, generations * population, seed
                    )
                    run = simulate(proposals, workers, draw)
                    runs.append(run)
                    proposed.setdefault((lookahead, seed), set()).add(run.proposed)
                row[str(workers)] = round(statistics.mean(run.busy for run in runs), 3)
    same = all(len(found) == 1 for found in proposed.values())
    return {"busy": table, "proposals_equal": same}


def suitable(busy: dict[str, Any], workers: int) -> tuple[str, float]:
    """The smallest lookahead that keeps them 95 % busy, or else the best; and its figure."""
    figures = [(name, row[str(workers)]) for name, row in busy.items()]
    enough = [(name, share) for name, share in figures if share >= 0.95]
    return enough[0] if enough else max(figures, key=lambda figure: figure[1])


def main() -> None:
    """Simulate, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--populations", type=int, nargs="+", default=[10, 64, 2048])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    line: dict[str, Any] = {"benchmark": "utilisation", **vars(arguments), "genes": GENES}
    for population in arguments.populations:
        found = measure(population, arguments.generations, arguments.repeats)
        half = min(population // 2, MOST_WORKERS)
        found["half_the_population"] = {
            kind: {
                "workers": half,
                "barrier": busy["lookahead_0"][str(half)],
                "lookahead": suitable(busy, half)[0].removeprefix("lookahead_"),
                "busy": suitable(busy, half)[1],
            }
            for kind, busy in found["busy"].items()
        }
        line[f"population_{population}"] = found
    print(json.dumps(line))


if __name__ == "__main__":
    main()
