"""How much of a search's best is luck: its winner, trained again with other seeds.

Each finished search has a best plan. Here it is fine-tuned again, on the same images, with other
seeds of the new head and the data order. `selected` is what the search saw: the best of
all its evaluations; `again` the mean over the seeds, `spread` their standard deviation. All are
means over the searches of a method. `luck` is `again` less `selected`: what of the best validation
loss does not come again. `differences` are of the mean test accuracies under other seeds, `revo`
less each other method, paired by search, with t intervals of 95 %. Prints one JSON line.

    python -m benchmarks.noise STUDY_DIRECTORY… [--seeds 10] [--methods full revo …]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.cells import OURS, difference
from benchmarks.record import SEARCHING, begin
from benchmarks.runs import loss_of, percent
from benchmarks.searches import Search, load
from revo_ray.data.table.image_table import prepare_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_tuner

MEASURES = (*SEARCHING, "benchmarks/searches.py", "revo_ray/report/paired_tests.py")
Scores = dict[tuple[str, str], float]
"""A score by cell and seed."""
FIRST_SEED = 1000
"""Far from those of studies."""


def again(study: Path, search: Search, seeds: int) -> dict[str, float]:
    """Scores of a search's best plan under other seeds."""
    config = search.outcome.config
    plan = Plan.from_json(search.outcome.directory.best.plan())
    table = prepare_table(config.data, study.parent / ".tables")
    losses, accuracies = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        train = config.train.model_copy(update={"seed": seed})
        tuner = load_tuner(config.model, config.data, train, table.path)
        *_, last = tuner.run(plan)
        if last.validation.loss is not None:
            losses.append(last.validation.loss)
            accuracies.append(percent(tuner.evaluate("test").accuracy))
    assert search.outcome.validation is not None
    assert search.outcome.test is not None
    selected = loss_of(search.outcome.validation)
    return {
        "selected": selected,
        "again": statistics.mean(losses),
        "spread": statistics.stdev(losses),
        "luck": statistics.mean(losses) - selected,
        "test_accuracy": percent(search.outcome.test.accuracy),
        "again_test_accuracy": statistics.mean(accuracies),
        "spread_test_accuracy": statistics.stdev(accuracies),
    }


def averaged(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure over the searches of a method."""
    return {key: round(statistics.mean(each[key] for each in found), 4) for key in found[0]}


def differences(accuracies: Mapping[str, Scores]) -> dict[str, Any]:
    """Ours less each other method, over the cells and seeds that both have."""
    ours = accuracies.get(OURS, {})
    found = {}
    for method, own in accuracies.items():
        gains = [ours[pair] - own[pair] for pair in own if pair in ours]
        if method != OURS and gains:
            found[method] = difference([gains])
    return found


def main() -> None:
    """Train the winners again, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", nargs="*", help="labels; all where none is named")
    arguments, record = begin(parser, "noise", MEASURES)
    torch.set_num_threads(1)
    searches = {study: load(study) for study in arguments.studies}
    methods = arguments.methods or dict.fromkeys(s.method for own in searches.values() for s in own)
    line: dict[str, Any] = {"seeds": arguments.seeds, "methods": {}}
    accuracies: dict[str, Scores] = {}
    for method in methods:
        found = {
            search.pair: again(study, search, arguments.seeds)
            for study, own in searches.items()
            for search in own
            if search.method == method
        }
        line["methods"][method] = {"searches": len(found), **averaged([*found.values()])}
        accuracies[method] = {pair: each["again_test_accuracy"] for pair, each in found.items()}
    line["differences"] = differences(accuracies)
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.seeds)
    record.finish(line, seeds, [s.revision for own in searches.values() for s in own])


if __name__ == "__main__":
    main()
