"""Do training settings pay as genes? `revo-mixed` with and without them, paired by seed.

On the network and the 89 images of `studies/small-quickstart.yaml`, at the same 500 epochs a
search. Prints one JSON line: each way's mean validation loss of the best evaluation, which is what
a search sees, its mean test loss and its mean test accuracy in percent; and the mean differences to
`rates` with their t intervals (95 %), paired by seed. Five seeds take under twenty minutes on two
cores. What is finished is not run again.

    rates         base rate, ratios and freeze bits; no weight decay
    weight_decay  the same and the weight decay, the default of `revo-mixed`
    recipe        the same and the settings that --recipe names

    python -m benchmarks.pretrain build/pretrained
    python -m benchmarks.recipe [--seeds 0 1 2 3 4] [--recipe momentum label_smoothing] [--set …]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import ttest_rel

from benchmarks.record import SEARCHING, begin
from benchmarks.runs import clocked, loss_of, percent, revo_ray
from benchmarks.searches import Search, load
from revo_ray.methods.recipe import GENES

MEASURES = (*SEARCHING, "benchmarks/searches.py", "benchmarks/studies/small-quickstart.yaml")
STUDY = Path(__file__).parent / "studies" / "small-quickstart.yaml"
REFERENCE = "rates"


def ways(recipe: Sequence[str]) -> list[dict[str, Any]]:
    """The variants of `revo-mixed`."""
    mixed = {"name": "revo-mixed", "high": -1, "recipe": None}
    return [
        mixed | {"label": REFERENCE, "weight_decay": None},
        mixed | {"label": "weight_decay"},
        mixed | {"label": "recipe", "recipe": list(recipe)},
    ]


def run(
    seeds: Sequence[int], recipe: Sequence[str], folder: Path, extra: Sequence[str]
) -> list[Search]:
    """The searches, finished; those of another recipe have another folder."""
    name = "-".join(["recipe", *recipe])
    command = revo_ray(
        "study",
        f"name={name}",
        f"storage={folder}",
        f"study.methods={json.dumps(ways(recipe))}",
        f"study.seeds={list(seeds)}",
        "study.fractions=[0.05]",
        *extra,
        preset=str(STUDY),
    )
    clocked([*command, "--resume"])
    wanted = {str(seed) for seed in seeds}
    return [search for search in load(folder / name) if search.outcome.identity.seed in wanted]


def scores(search: Search) -> dict[str, float]:
    """The scores of a search's best evaluation."""
    validation, test = search.outcome.validation, search.outcome.test
    assert validation is not None
    assert test is not None
    return {
        "validation_loss": loss_of(validation),
        "test_loss": loss_of(test),
        "test_accuracy": percent(test.accuracy),
    }


def figures(searches: Sequence[Search]) -> dict[str, Any]:
    """Means of each way, and its differences to the reference; no interval of a single seed."""
    found: dict[str, dict[tuple[Any, ...], dict[str, float]]] = {}
    for search in searches:
        found.setdefault(search.method, {})[search.outcome.block] = scores(search)
    line: dict[str, Any] = {}
    for way, own in found.items():
        line[way] = {}
        for name in next(iter(own.values())):
            values = [own[pair][name] for pair in sorted(own)]
            line[way][name] = round(statistics.mean(values), 4)
            others = [found[REFERENCE][pair][name] for pair in sorted(own)]
            if way != REFERENCE:
                line[way][f"{name}_difference"] = difference(values, others)
    return line


def difference(values: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    """The mean of paired differences, and its t interval; none of one pair or of equal values."""
    gains = [value - other for value, other in zip(values, others, strict=True)]
    found: dict[str, Any] = {"mean": round(statistics.mean(gains), 4), "interval": None}
    if len(set(gains)) > 1:
        interval = ttest_rel(values, others).confidence_interval(0.95)
        found["interval"] = [round(interval.low, 4), round(interval.high, 4)]
    return found


def main() -> None:
    """Run what is not finished, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--recipe", nargs="+", choices=GENES, default=["momentum", "label_smoothing"]
    )
    parser.add_argument("--runs", type=Path, default=Path("revo_results/recipe"))
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of all")
    arguments, record = begin(parser, "recipe", MEASURES)
    searches = run(arguments.seeds, arguments.recipe, arguments.runs.absolute(), arguments.settings)
    line = {"genes": arguments.recipe, **figures(searches)}
    record.finish(line, arguments.seeds, [search.revision for search in searches])


if __name__ == "__main__":
    main()
