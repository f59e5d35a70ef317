"""Solution quality of set encoding at 100 evaluations: its genetic algorithm against others.

The method's own space for networks of 20 and of 50 units, and a function with a known optimum: the
weighted distance from a hidden genome, counted in places among the rates. CatCMAwM and random
draws search the same space under the same rules. Prints one JSON line: the mean of the best
value found, lower is better, 0 is perfect, and on how many seeds random draws found a worse one.

    python -m benchmarks.set_encoding [--seeds 10] [--evaluations 100]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.random import Draws
from baselines.set_encoding import SetEncoding
from benchmarks.quality import best_of
from benchmarks.record import begin
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Proposals
from revo_ray.evolve.space import Space
from revo_ray.settings.schema import SearchOptions

MEASURES = (
    *("revo_ray/evolve", "baselines/set_encoding.py", "baselines/genetic.py"),
    *("baselines/random.py", "benchmarks/quality.py"),
)
SIZES = (20, 50)


@dataclass(frozen=True)
class Unit:
    """A unit of a network that nobody needs to build."""

    name: str
    head: bool = False


class Matching:
    """How far a genome is from a hidden one, 0 to 1; each unit has a weight of its own.

    Args:
        space: one variable for each unit.
        seed: of the hidden genome and the weights.
    """

    def __init__(self, space: Space, seed: int) -> None:
        rng = np.random.default_rng([seed, len(space)])
        self.rates = SetEncoding.Options().rates
        self.hidden = space.random(rng)
        weights = rng.uniform(0.5, 1.5, len(space))
        self.weights = dict(zip(space, weights / weights.sum(), strict=True))

    def __call__(self, sample: Mapping[str, Any]) -> float:
        """The weighted distance of a sample."""
        place, last = self.rates.index, len(self.rates) - 1
        distances = (
            weight * abs(place(sample[name]) - place(self.hidden[name])) / last
            for name, weight in self.weights.items()
        )
        return float(sum(distances))


def compare(units: int, seeds: int, evaluations: int) -> dict[str, list[float]]:
    """The best value that each searcher finds, one for each seed."""
    method = SetEncoding(SetEncoding.Options())
    space = method.space([Unit(f"unit{i}", head=i == units - 1) for i in range(units)])
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        options = SearchOptions(evaluations=evaluations, seed=seed)
        population, budget = options.population, options.evaluations
        cmamv = CMAMV(space, population_size=population, seed=seed)
        searchers: dict[str, Proposals[Any]] = {
            method.name: method.searcher(space, options),
            cmamv.algorithm: Proposals(cmamv, space, budget=budget, reuse=True),
            "random": Proposals(Draws(space, seed), space, budget=budget, reuse=True),
        }
        for name, proposals in searchers.items():
            found.setdefault(name, []).append(best_of(proposals, Matching(space, seed)))
    return found


def main() -> None:
    """Run every searcher on the same seeds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=100)
    arguments, record = begin(parser, "set_encoding", MEASURES)
    line: dict[str, Any] = {**vars(arguments)}
    for units in SIZES:
        found = compare(units, arguments.seeds, arguments.evaluations)
        line[f"{units} units"] = {
            name: {
                "mean": round(statistics.mean(values), 4),
                "stdev": round(statistics.stdev(values), 4) if len(values) > 1 else None,
                "beats_random": sum(a < b for a, b in zip(values, found["random"], strict=True)),
            }
            for name, values in found.items()
        }
    record.finish(line, range(arguments.seeds))


if __name__ == "__main__":
    main()
