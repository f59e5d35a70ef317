"""How long a searcher thinks about one evaluation: ours, Ray's HyperOptSearch and OptunaSearch.

A sum of squares over 54 genes, as many as ResNet-50 has layers. `cmamv` is `CMAMVSearch` over
54 rates, `cmamv_bits` over 54 freeze bits, and `search` the `Proposals` that `revo-ray search`
itself asks and tells; `hyperopt` and `optuna` are Ray's searchers over the same rates; all have
their defaults. An evaluation's latency is that of `suggest` plus `on_trial_complete`. In `turns`
all take turns, evaluation by evaluation, and those after TPE's random start count; in `alone` ours
go on by themselves. Ours learn once a generation, which the median of evaluations does not show
and `with_updates_ms` does. `sizes` has the seconds that a generation of `search` takes at other
numbers of genes, with the covariance of a network's units. Prints one JSON line.

    python -m benchmarks.searcher [--evaluations 10000] [--compared 200] [--genes 54]
                                  [--sizes 160 400 1000 2000]
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.hyperopt import HyperOptSearch
from ray.tune.search.optuna import OptunaSearch

from benchmarks.record import begin
from revo_ray import CMAMVSearch
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Outcome, Proposals
from revo_ray.evolve.space import Real, Space

MEASURES = ("revo_ray/evolve", "revo_ray/tune")
RANDOM_START = 20
"""Evaluations that HyperOptSearch draws at random before the first that it thinks about."""
POPULATION = 10
OURS = ("cmamv", "cmamv_bits", "search")
OTHERS = ("hyperopt", "optuna")

Evaluate = Callable[[int], float]
"""Proposes and learns from one evaluation; the seconds that the searcher took."""


def through_tune(searcher: Searcher) -> Evaluate:
    """A searcher as Tune calls it."""

    def evaluate(number: int) -> float:
        trial, began = str(number), time.perf_counter()
        config = searcher.suggest(trial)
        seconds = time.perf_counter() - began
        assert isinstance(config, dict)
        result = {"loss": value(config)}
        began = time.perf_counter()
        searcher.on_trial_complete(trial, result)
        return seconds + time.perf_counter() - began

    return evaluate


def alone(proposals: Proposals[Any]) -> Evaluate:
    """Proposals as a search asks and tells them."""

    def evaluate(number: int) -> float:
        began = time.perf_counter()
        proposal = proposals.ask()
        seconds = time.perf_counter() - began
        assert proposal is not None
        outcome = Outcome(value(proposal.sample))
        began = time.perf_counter()
        proposals.tell(proposal.evaluation, outcome)
        return seconds + time.perf_counter() - began

    return evaluate


def value(sample: Mapping[str, Any]) -> float:
    """Rates count by their distance from 1e-2 in decades, bits by their distance from 0."""
    return sum((math.log10(x) + 2) ** 2 if isinstance(x, float) else x for x in sample.values())


def searchers(genes: int) -> dict[str, Evaluate]:
    """Everybody, over that many genes."""
    rates = {f"gene{i}": tune.loguniform(1e-4, 1.0) for i in range(genes)}
    bits = {f"gene{i}": tune.choice([0, 1]) for i in range(genes)}
    space = Space({f"gene{i}": Real(1e-4, 1.0, log=True) for i in range(genes)})
    to: Any = {"metric": "loss", "mode": "min"}
    return {
        "cmamv": through_tune(CMAMVSearch(rates, **to)),
        "cmamv_bits": through_tune(CMAMVSearch(bits, **to)),
        "search": alone(Proposals(CMAMV(space), space, reuse=True)),
        "hyperopt": through_tune(HyperOptSearch(rates, random_state_seed=0, **to)),
        "optuna": through_tune(OptunaSearch(rates, seed=0, **to)),
    }


def thinking(seconds: list[float]) -> dict[str, float]:
    """Milliseconds an evaluation: the median, and with the update that each generation ends with.

    The latter is the median over generations of their mean, so that one hiccup of the machine
    does not count.
    """
    whole = [sum(part) / len(part) for part in batched(seconds, POPULATION)]
    return {
        "median_ms": round(1000 * statistics.median(seconds), 3),
        "with_updates_ms": round(1000 * statistics.median(whole), 3),
    }


def batched(seconds: list[float], size: int) -> list[list[float]]:
    """Whole generations, in order."""
    return [seconds[at : at + size] for at in range(0, len(seconds) - size + 1, size)]


def compare(genes: int, evaluations: int) -> dict[str, dict[str, float]]:
    """Everybody takes turns, evaluation by evaluation; those after the random start count."""
    everybody = searchers(genes)
    seconds: dict[str, list[float]] = {name: [] for name in everybody}
    for number in range(evaluations):
        for name, evaluate in everybody.items():
            seconds[name].append(evaluate(number))
    return {name: thinking(taken[RANDOM_START:]) for name, taken in seconds.items()}


def lengthen(genes: int, evaluations: int) -> dict[str, dict[str, Any]]:
    """Ours, from the 10th to the last of many evaluations: their first and last twentieth."""
    found = {}
    for name in OURS:
        evaluate = searchers(genes)[name]
        seconds = [evaluate(number) for number in range(evaluations)][POPULATION:]
        window = max(10, evaluations // 20 // POPULATION) * POPULATION
        first, last = thinking(seconds[:window]), thinking(seconds[-window:])
        found[name] = {
            "first": first,
            "last": last,
            "last_over_first": round(last["with_updates_ms"] / first["with_updates_ms"], 2),
        }
    return found


def sizes(counts: Sequence[int]) -> dict[str, float]:
    """Seconds of a generation by the number of genes: the median of three after the first two."""
    found = {}
    for genes in counts:
        depths = [place / (genes - 1) for place in range(genes)]
        space = Space(
            {f"gene{i}": Real(1e-6, 1.0, log=True, depth=d) for i, d in enumerate(depths)}
        )
        evaluate = alone(Proposals(CMAMV(space, covariance="depth"), space, reuse=True))
        seconds = [evaluate(number) for number in range(5 * POPULATION)]
        found[str(genes)] = round(statistics.median(map(sum, batched(seconds, POPULATION)[2:])), 3)
    return found


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--compared", type=int, default=200)
    parser.add_argument("--genes", type=int, default=54)
    parser.add_argument("--sizes", type=int, nargs="*", default=[160, 400, 1000, 2000])
    arguments, record = begin(parser, "searcher", MEASURES)
    if arguments.compared < RANDOM_START + POPULATION:
        parser.error(f"--compared must be {RANDOM_START + POPULATION} or more")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    line: dict[str, Any] = {**vars(arguments)}
    compared = line["turns"] = compare(arguments.genes, arguments.compared)
    line["alone"] = lengthen(arguments.genes, arguments.evaluations)
    line["sizes"] = sizes(arguments.sizes)
    for other in OTHERS:
        for key in ("median_ms", "with_updates_ms"):
            ratio = compared[other][key] / compared["cmamv"][key]
            line[f"{other}_over_cmamv_{key.removesuffix('_ms')}"] = round(ratio)
    record.finish(line, [0])


if __name__ == "__main__":
    main()
