"""How much of a search's best is luck: its winner, trained again with other seeds.

Each finished search has a best plan. Here it is fine-tuned again, on the same images, with other
seeds of the new head and the data order. `selected` is what the search saw: the best of
all its evaluations; `again` the mean over the seeds, `spread` their standard deviation. All are
means over the searches of a method, and over the trainings that did not diverge; `diverged` counts
the others. `luck` is `again` less `selected`: what of the best validation loss does not come again.
`differences` are of the mean test accuracies under other seeds and of the luck, `revo` less each
other method, paired by cell and seed, with t intervals of 95 %. A cell is a study, or the studies
CELL-METHOD of several methods. Prints one JSON line.

    python -m benchmarks.noise STUDY_DIRECTORY… [--seeds 10] [--methods full revo …]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.cell_gains import OURS, correct, difference
from benchmarks.cells import IMAGES
from benchmarks.record import SEARCHING, begin
from benchmarks.runs import loss_of, percent
from benchmarks.searches import Search, load
from revo_ray.data.table.image_table import prepare_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_tuner

MEASURES = (
    *SEARCHING,
    "benchmarks/searches.py",
    "revo_ray/report/paired_tests.py",
    "benchmarks/cell_gains.py",
)
Winners = dict[str, dict[int, dict[str, float]]]
"""Figures of the winners of one method, by cell and seed."""
FIRST_SEED = 1000
"""Far from those of studies."""


def cell_of(study: Path, search: Search) -> str:
    """The cell of a search: its study, which may be that of one method in a cell of several."""
    return study.name.removesuffix(f"-{search.method}")


def again(study: Path, search: Search, seeds: int) -> dict[str, float]:
    """Scores of a search's best plan under other seeds."""
    config = search.outcome.config
    plan = Plan.from_json(search.outcome.directory.best.plan())
    table = prepare_table(config.data, study.parent / ".tables")
    losses: list[float] = []
    accuracies: list[float] = []
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
    if len(losses) < 2:
        sys.exit(f"{search.outcome.name}: its best plan diverges under other seeds")
    return {
        "selected": selected,
        "again": statistics.mean(losses),
        "spread": statistics.stdev(losses),
        "diverged": seeds - len(losses),
        "luck": statistics.mean(losses) - selected,
        "test_accuracy": percent(search.outcome.test.accuracy),
        "again_test_accuracy": statistics.mean(accuracies),
        "spread_test_accuracy": statistics.stdev(accuracies),
    }


def averaged(winners: Winners) -> dict[str, float]:
    """Their number, and the mean of each figure over them."""
    found = [each for cell in winners.values() for each in cell.values()]
    means = {key: round(statistics.mean(each[key] for each in found), 4) for key in found[0]}
    return {"searches": len(found)} | means


def differences(winners: Mapping[str, Winners], figure: str) -> dict[str, Any]:
    """Ours less each other method, over the cells and seeds that both have."""
    ours = winners.get(OURS, {})
    found = {}
    for method, own in winners.items():
        gains = {}
        for cell in own.keys() & ours.keys():
            seeds = own[cell].keys() & ours[cell].keys()
            if seeds:
                gains[cell] = {s: ours[cell][s][figure] - own[cell][s][figure] for s in seeds}
        if method != OURS and gains:
            images = [IMAGES.get(cell, cell) for cell in gains]
            found[method] = difference([*gains.values()], images)
    correct(found)
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
    labels = dict.fromkeys(s.method for own in searches.values() for s in own)
    methods = arguments.methods or labels
    if unknown := {*methods} - {*labels}:
        parser.error(f"no finished search of {min(unknown)}; there are {', '.join(labels)}")
    winners: dict[str, Winners] = {method: {} for method in methods}
    for study, own in searches.items():
        for search in own:
            if search.method in winners:
                cell = winners[search.method].setdefault(cell_of(study, search), {})
                cell[search.seed] = again(study, search, arguments.seeds)
    line: dict[str, Any] = {
        "seeds": arguments.seeds,
        "methods": {method: averaged(own) for method, own in winners.items()},
        "differences": differences(winners, "again_test_accuracy"),
        "lucks": differences(winners, "luck"),
    }
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.seeds)
    record.finish(line, seeds, [s.revision for own in searches.values() for s in own])


if __name__ == "__main__":
    main()
