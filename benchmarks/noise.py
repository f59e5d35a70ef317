"""How much of a search's best is luck: its winner, trained again with other seeds.

Each finished search of a study has a best plan. Here it is fine-tuned again, on the same images,
with other seeds of the new head and the data order. `selected` is what the search saw: the best of
all its evaluations; `again` the mean over the seeds, `spread` their standard deviation. All are
means over the searches of a method. `luck` is `again` less `selected`: what of the best validation
loss does not come again. Prints one JSON line.

    python -m benchmarks.noise STUDY_DIRECTORY [--seeds 10] [--methods full revo-continuous …]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.wins import Search, load
from revo_ray.data.table.image_table import prepare_table
from revo_ray.finetune.training.assemble import load_tuner
from revo_ray.model.train import read_plan
from revo_ray.report.outcomes import read_config
from revo_ray.storage import Storage

FIRST_SEED = 1000
"""Far from those of studies."""


def again(study: Path, search: Search, seeds: int) -> dict[str, float]:
    """What the best plan of a search gives under other seeds."""
    folder = study / search.outcome.name
    config = read_config(Storage(str(folder)))
    plan = read_plan(folder / "best" / "plan.json")
    table = prepare_table(config.data, study.parent / ".tables")
    losses, accuracies = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        train = config.train.model_copy(update={"seed": seed})
        tuner = load_tuner(config.model, config.data, train, table.path)
        *_, last = tuner.run(plan)
        if last.val_loss is not None:
            losses.append(last.val_loss)
            accuracies.append(100 * tuner.evaluate("test").accuracy)
    assert search.outcome.validation is not None
    assert search.outcome.test is not None
    selected = search.outcome.validation.loss or 0.0
    return {
        "selected": selected,
        "again": statistics.mean(losses),
        "spread": statistics.stdev(losses),
        "luck": statistics.mean(losses) - selected,
        "test_accuracy": 100 * (search.outcome.test.accuracy or 0.0),
        "again_test_accuracy": statistics.mean(accuracies),
        "spread_test_accuracy": statistics.stdev(accuracies),
    }


def averaged(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure over the searches of a method."""
    return {key: round(statistics.mean(each[key] for each in found), 4) for key in found[0]}


def main() -> None:
    """Train the winners again, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", nargs="*", help="labels; all where none is named")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    searches = load(arguments.study)
    methods = arguments.methods or list(dict.fromkeys(each.method for each in searches))
    line: dict[str, Any] = {"benchmark": "noise", "seeds": arguments.seeds, "methods": {}}
    for method in methods:
        own = [each for each in searches if each.method == method]
        found = [again(arguments.study, each, arguments.seeds) for each in own]
        line["methods"][method] = {"searches": len(own), **averaged(found)}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
