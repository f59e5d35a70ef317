"""Does a search gain by beginning at the rates that won on other images? Paired by seed.

For each seed: the quick start's search on digits, 100 evaluations; then 40 evaluations by the
defaults of revo-continuous on Fashion-MNIST (the cell `fashion` of `benchmarks.scale`: the same
network and recipe), twice:

    cold  begins with a sweep
    warm  begins at the winners of the search on digits (`search.warm_start`)

Prints one JSON line: for each the best validation loss after 10, 20 and 40 evaluations and the test
accuracy in percent, by seed and on average; `differences` has the mean of `warm` less `cold`, with
its t interval (95 %). The search on digits costs 100 evaluations more, which the figures do not
count. What is finished is not run again.

    sudo apt install dataset-fashion-mnist
    python -m benchmarks.warm_start [--seeds 0 1 2 3 4] [--set …]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.record import SEARCHING, begin
from benchmarks.runs import clocked, revo_ray
from benchmarks.scale import CELLS, difference, mean
from benchmarks.searches import Search, load
from revo_ray.objective import LOSS
from revo_ray.report.figures.best_so_far import best_so_far
from revo_ray.report.scores import ACCURACY

MEASURES = (
    *(*SEARCHING, "benchmarks/searches.py", "benchmarks/scale.py"),
    *("revo_ray/presets/quickstart.yaml", "revo_ray/rundir/warm_start.py"),
)
COLD, WARM = "cold", "warm"
AFTER = (10, 20, 40)
"""Evaluations after which the best validation loss is noted."""


def run(
    seed: int, runs: Path, counts: tuple[int, int], settings: Sequence[str]
) -> dict[str, Search]:
    """The finished searches of a seed on the second images, cold and warm.

    Args:
        seed: of splits, training and proposals.
        runs: folder of the run directories.
        counts: evaluations on the first images and on the second.
        settings: `KEY=VALUE` of all searches.
    """
    common = [f"storage={runs}", *(f"{key}.seed={seed}" for key in ("data", "train", "search"))]
    source, target = (f"search.evaluations={count}" for count in counts)
    first = f"digits-s{seed}"
    finish(first, [*common, source, *settings], "preset:quickstart")
    found = {}
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        file = Path(folder) / "fashion.yaml"
        file.write_text(yaml.safe_dump(CELLS["fashion"]))
        for way, directories in ((COLD, []), (WARM, [str(runs / first)])):
            name, start = f"{way}-s{seed}", f"search.warm_start={json.dumps(directories)}"
            finish(name, [*common, target, start, *settings], str(file))
            (found[way],) = load(runs / name)
    return found


def finish(name: str, settings: Sequence[str], source: str) -> None:
    """Run a search to its end."""
    command = revo_ray("search", f"name={name}", *settings, preset=source)
    clocked([*command, "--resume"])


def scores(search: Search) -> dict[str, float]:
    """Test accuracy of a search in percent, and its best validation losses on the way."""
    best = best_so_far(search.rows, LOSS)
    losses = {f"loss_{n}": round(float(best[min(n, len(best)) - 1]), 4) for n in AFTER}
    return {"accuracy": round(search.score(ACCURACY), 3), **losses}


def figures(pairs: Sequence[dict[str, Search]]) -> dict[str, Any]:
    """The scores of both ways, in the order of the seeds, and their differences."""
    line: dict[str, Any] = {COLD: {}, WARM: {}, "differences": {}}
    found = [{way: scores(search) for way, search in pair.items()} for pair in pairs]
    for name in found[0][COLD]:
        for way in (COLD, WARM):
            values = [each[way][name] for each in found]
            line[way] |= {name: values, f"mean_{name}": mean(values)}
        gains = [a - b for a, b in zip(line[WARM][name], line[COLD][name], strict=True)]
        line["differences"][name] = difference(gains, digits=4)
    return line


def main() -> None:
    """Run what is not finished, compare, print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--source-evaluations", type=int, default=100, help="on the first images")
    parser.add_argument("--evaluations", type=int, default=AFTER[-1], help="on the second images")
    parser.add_argument("--runs", type=Path, default=Path("revo_results/warm_start"))
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of all")
    arguments, record = begin(parser, "warm_start", MEASURES)
    runs, counts = arguments.runs.absolute(), (arguments.source_evaluations, arguments.evaluations)
    pairs = [run(seed, runs, counts, arguments.settings) for seed in arguments.seeds]
    revisions = {search.revision for pair in pairs for search in pair.values()}
    record.finish(figures(pairs), arguments.seeds, revisions)


if __name__ == "__main__":
    main()
