"""Which form of a search's result to take away: the best model, an ensemble, a soup, or a refit?

Three cells of `benchmarks.scale`, three methods at 100 evaluations, five seeds. Each finished
search has its forms tested once: `best` (the best evaluation), `ensemble` (greedy, over the stored
predictions of all), `soup` (greedy, over the weights kept) and `plain` (the best evaluation with
one rate for all layers). Prints one JSON line, scores in percent, each interval a t interval of
95 %:

    test         test accuracy and AUC by seed, also of refits
    optimism     scores on validation images that chose the form, cross-fitted, and on test images
    cost         models, megabytes on disk, seconds for 1,000 test images, also over those of `best`
    differences  between forms of one search, paired by search
    between      between methods that hand over the same form, paired by seed
    refit        the plan of `best` and of `plain` trained again on training and validation images,
                 less the search's own model of that plan; without those that diverged

Finished searches are not run again. Refits are kept beside them, in RUNS/refit.

    python -m benchmarks.pretrain build/pretrained
    python -m benchmarks.takeaway [--cells digits …] [--methods full …] [--seeds 0 1 2 3 4]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.baselines import interval
from benchmarks.record import SEARCHING, begin
from benchmarks.runs import percent
from benchmarks.scale import OURS, WAYS, WEIGHTS, run, use_weights
from benchmarks.searches import Search
from revo_ray.data.shared_files import tables_folder
from revo_ray.data.table.image_table import prepare_table, split_table
from revo_ray.errors import SearchError
from revo_ray.finetune.plan import Plan
from revo_ray.model.loaded_model import load_form
from revo_ray.model.train import train_plan
from revo_ray.rundir import RunDirectory
from revo_ray.rundir.forms import FORMS, Form
from revo_ray.rundir.outcome import FormResult

MEASURES = (
    *(*SEARCHING, "revo_ray/combine", "revo_ray/model", "revo_ray/rundir"),
    *("benchmarks/searches.py", "benchmarks/scale.py"),
)
METHODS = {"full": WAYS["full"], "random": WAYS["random"], "revo-continuous": WAYS[OURS]}
CELLS = ("digits", "digits-long", "fashion")
PAIRS: tuple[tuple[Form, Form], ...] = (
    ("ensemble", "best"),
    ("soup", "best"),
    ("best", "plain"),
    ("ensemble", "plain"),
)
BETWEEN = (("revo-continuous", "full"), ("revo-continuous", "random"), ("random", "full"))
REFITTED: tuple[Form, ...] = ("best", "plain")
MEASURED = ("accuracy", "auc")
TURNS = 5
BATCH = 256

Searches = Mapping[str, Mapping[str, Sequence[Search]]]
"""Searches by cell and method, in the order of the seeds."""
Gains = dict[str, list[float]]
"""Differences by metric."""
Compared = tuple[str, str, str, Gains]
"""Cell, group in the cell, name of the difference, and the differences."""


def forms_of(search: Search) -> dict[str, FormResult]:
    """The tested forms of a search."""
    return search.outcome.result.forms


def common_forms(searches: Sequence[Search]) -> list[Form]:
    """The forms that each of some searches has."""
    return [form for form in FORMS if all(form in forms_of(search) for search in searches)]


def score(scores: Mapping[str, float | None] | None, metric: str) -> float:
    """A score: the loss as it is, all others in percent; NaN if it is not defined."""
    value = None if scores is None else scores[metric]
    if metric == "loss":
        return math.nan if value is None else value
    return percent(value)


def by_seed(tests: Sequence[Any]) -> dict[str, Any]:
    """Test scores by seed, with the t interval of their mean."""
    found: dict[str, Any] = {}
    for metric in MEASURED:
        values = [score(test, metric) for test in tests]
        low, high = interval(values) if mean(values) is not None else (None, None)
        found[metric] = [_plain(round(value, 3)) for value in values]
        found |= {f"mean_{metric}": mean(values), f"{metric}_low": low, f"{metric}_high": high}
    return found


def optimism(searches: Sequence[Search], form: Form) -> dict[str, float | None]:
    """Mean scores of a form on validation images, cross-fitted, and on test images."""
    found: dict[str, float | None] = {}
    for metric in ("accuracy", "loss"):
        for kind in ("validation", "cross_fitted", "test"):
            values = [score(getattr(forms_of(s)[form], kind), metric) for s in searches]
            found[f"{kind}_{metric}"] = mean(values)
    return found


def costs(searches: Sequence[Search], forms: Sequence[Form]) -> dict[str, dict[str, float | None]]:
    """The mean cost of each form."""
    seconds = [seconds_to_predict(search, forms) for search in searches]
    return {
        form: {
            "models": mean([stored_models(search, form) for search in searches]),
            "megabytes": mean([disk_bytes(search, form) / 1e6 for search in searches]),
            "seconds": mean([own[form] for own in seconds]),
            "over_best": mean([own[form] / own["best"] for own in seconds]),
        }
        for form in forms
    }


def stored_models(search: Search, form: Form) -> int:
    """Number of models that a form runs; a soup's members have become one."""
    return len(forms_of(search)[form].members) if form == "ensemble" else 1


def disk_bytes(search: Search, form: Form) -> int:
    """Size of all files that a form needs."""
    directory = search.outcome.directory
    root = Path(directory.uri)
    files = [*(root / form).iterdir()]
    if form == "ensemble":
        kept = map(directory.models.path, forms_of(search)[form].members)
        files += [root / path for path in kept if (root / path).exists()]
    return sum(file.stat().st_size for file in files)


def seconds_to_predict(search: Search, forms: Iterable[Form]) -> dict[str, float]:
    """Seconds of each form for 1,000 test images, the least of some turns."""
    config = search.outcome.config
    table = prepare_table(config.data, tables_folder(config.storage))
    images = table.images[split_table(table, config.data).test]
    models = {form: load_form(search.outcome.directory, form).classifier().logits for form in forms}
    found: dict[str, list[float]] = {form: [] for form in models}
    for _ in range(TURNS):
        for form, logits in models.items():
            began = time.perf_counter()
            for start in range(0, len(images), BATCH):
                logits(images[start : start + BATCH])
            found[form].append(1000 * (time.perf_counter() - began) / len(images))
    return {form: min(turns) for form, turns in found.items()}


def gains(ours: Iterable[Any], others: Iterable[Any]) -> Gains:
    """Differences by metric between pairs of test scores, where both are defined."""
    pairs = [*zip(ours, others, strict=True)]
    found = {m: [score(a, m) - score(b, m) for a, b in pairs] for m in MEASURED}
    return {m: [each for each in values if math.isfinite(each)] for m, values in found.items()}


def test_scores(searches: Iterable[Search], form: Form) -> list[Any]:
    """Test scores of a form in the order of the searches."""
    return [forms_of(search)[form].test for search in searches]


def between_forms(searches: Searches) -> Iterator[Compared]:
    """Each form less another one of the same searches."""
    for cell, methods in searches.items():
        for method, own in methods.items():
            forms = common_forms(own)
            for one, other in PAIRS:
                if one in forms and other in forms:
                    here = gains(test_scores(own, one), test_scores(own, other))
                    yield cell, method, f"{one} less {other}", here


def between_methods(searches: Searches) -> Iterator[Compared]:
    """Each method less another one that hands over the same form."""
    for cell, methods in searches.items():
        for one, other in BETWEEN:
            if one in methods and other in methods:
                ours, others = methods[one], methods[other]
                for form in common_forms([*ours, *others]):
                    here = gains(test_scores(ours, form), test_scores(others, form))
                    yield cell, form, f"{one} less {other}", here


def between_refits(searches: Searches, folder: Path) -> Iterator[Compared]:
    """Plans trained on training and validation images less the same without the latter."""
    for cell, methods in searches.items():
        for method, own in methods.items():
            for form in refitted(own):
                again = [refit(search, form, folder) for search in own]
                yield cell, method, form, gains(again, test_scores(own, form))


def refitted(searches: Sequence[Search]) -> list[Form]:
    """The forms whose plans are trained again."""
    return [form for form in common_forms(searches) if form in REFITTED]


def changes(compared: Iterable[Compared], *, together: bool, prefix: str = "") -> dict[str, Any]:
    """Differences by cell and over all cells; `together` over all groups of these, too."""
    found: dict[str, Any] = {}
    pooled: dict[str, dict[str, Gains]] = {}
    for cell, group, name, here in compared:
        found.setdefault(cell, {}).setdefault(group, {})[name] = change(here, prefix)
        for label in (group, "together") if together else (group,):
            total = pooled.setdefault(label, {}).setdefault(name, {m: [] for m in MEASURED})
            for metric, values in here.items():
                total[metric] += values
    found["all"] = {
        label: {name: change(each, prefix) for name, each in own.items()}
        for label, own in pooled.items()
    }
    return found


def change(found: Gains, prefix: str) -> dict[str, float | None]:
    """Mean differences with their t intervals; none where single or equal ones give none."""
    line: dict[str, float | None] = {"pairs": len(found["accuracy"])}
    for metric, values in found.items():
        low, high = interval(values)
        line[prefix + metric] = mean(values)
        line |= {f"{prefix}{metric}_low": low, f"{prefix}{metric}_high": high}
    return line


def refit(search: Search, form: Form, folder: Path) -> dict[str, float | None] | None:
    """Test scores of a form's plan, trained on validation images too; None if that diverged."""
    directory: RunDirectory = search.outcome.directory
    plan = {"best": directory.best, "plain": directory.plain}[form].plan()
    file = folder / f"{Path(directory.uri).parent.name}-{search.outcome.name}-{form}.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    if known.get("plan") != plan:
        try:
            trained = train_plan(search.outcome.config, Plan.from_json(plan), with_validation=True)
            test = trained.test.finite
            scores = {metric: getattr(test, metric) for metric in MEASURED}
        except SearchError:
            scores = None
        known = {"plan": plan, "test": scores}
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(known))
    return known["test"]


def mean(values: Sequence[float]) -> float | None:
    """The mean, to four digits behind the point; None if a value is missing."""
    return _plain(round(statistics.mean(values), 4)) if values else None


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def figures(searches: Searches, folder: Path) -> dict[str, Any]:
    """All that the line holds."""
    line: dict[str, Any] = {"test": {}, "optimism": {}, "cost": {}}
    for cell, methods in searches.items():
        for method, own in methods.items():
            forms = common_forms(own)
            tests = {str(form): by_seed(test_scores(own, form)) for form in forms}
            for form in refitted(own):
                tests[f"{form} refit"] = by_seed([refit(search, form, folder) for search in own])
            line["test"].setdefault(cell, {})[method] = tests
            optimistic = {form: optimism(own, form) for form in forms}
            line["optimism"].setdefault(cell, {})[method] = optimistic
            line["cost"].setdefault(cell, {})[method] = costs(own, forms)
    line["differences"] = changes(between_forms(searches), together=True)
    line["between"] = changes(between_methods(searches), together=False)
    refits = between_refits(searches, folder)
    return line | {"refit": changes(refits, together=True, prefix="gained_")}


def main() -> None:
    """Run what is not finished, compare, print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--weights", default=str(WEIGHTS), help="of the digits' network")
    parser.add_argument("--runs", type=Path, default=Path("revo_results/takeaway"))
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of all")
    arguments, record = begin(parser, "takeaway", MEASURES)
    use_weights(arguments.weights)
    torch.set_num_threads(1)
    runs = arguments.runs.absolute()
    methods = {method: METHODS[method] for method in arguments.methods}
    searches: dict[str, dict[str, list[Search]]] = {}
    for cell in arguments.cells:
        found = run(cell, methods, arguments.seeds, runs, arguments.settings)
        found.sort(key=lambda search: search.outcome.config.search.seed)
        searches[cell] = {m: [each for each in found if each.method == m] for m in methods}
    line = figures(searches, runs / "refit")
    own = [each for by_method in searches.values() for some in by_method.values() for each in some]
    record.finish(line, arguments.seeds, {search.revision for search in own})


if __name__ == "__main__":
    main()
