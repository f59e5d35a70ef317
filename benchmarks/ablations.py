"""One choice at a time: optimiser, schedule, norms, granularity, and the paper's own recipe.

On cell A of `benchmarks.cells`, with seeds from 100 on, which the comparison there does not use.
Each search has 100 evaluations. Finished searches are not run again. Prints one JSON line:

    choices      by choice and way: the mean validation loss of the best model, which is what a
                 search sees, and its test accuracy in percent, by seed and on average
    differences  test accuracy of a way less that of the same way at the defaults, or of `revo`
                 there, paired by seed, with t intervals of 95 %; p_holm is corrected for all
                 of these

    python -m benchmarks.pretrain build/pretrained
    python -m benchmarks.ablations [--only block cosine] [--seeds 100 101 102] [--set …]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import yaml

from benchmarks.cell_gains import OURS, Figures, correct, difference, gains
from benchmarks.cells import MAIN, Settings, merged, searched, settings_of
from benchmarks.record import ROOT, SEARCHING, begin
from benchmarks.runs import loss_of
from benchmarks.scale import WEIGHTS, mean, use_weights
from benchmarks.searches import Search
from revo_ray.report.scores import ACCURACY

MEASURES = (
    *(*SEARCHING, "revo_ray/presets"),
    *("benchmarks/cells.py", "benchmarks/scale.py", "benchmarks/searches.py"),
    *("revo_ray/report/paired_tests.py", "benchmarks/cell_gains.py"),
)
BOTH: dict[str, Settings] = {way: MAIN[way] for way in (OURS, "full")}
PRESETS = ROOT / "revo_ray" / "presets"
PAPER: dict[str, Settings] = {
    name: yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    for name in ("paper-continuous", "paper-binary")
}
SGD = {"optimizer": "sgd", "momentum": 0.0}
CHOICES: dict[str, tuple[Settings, dict[str, Settings]]] = {
    "defaults": ({}, BOTH),
    "block": ({"model": {"granularity": "block"}}, {OURS: MAIN[OURS]}),
    "cosine": ({"train": {"schedule": "cosine"}}, BOTH),
    "running-statistics": ({"train": {"batch_norm": "running"}}, BOTH),
    "momentum": ({"train": {**SGD, "momentum": 0.9}}, BOTH),
    "plain-sgd": ({"train": SGD}, BOTH),
    "paper": (
        {"train": PAPER["paper-binary"]["train"]},
        {
            **BOTH,
            "revo-binary": {"method": {"name": "revo-binary"}},
            **{name: {"method": preset["method"]} for name, preset in PAPER.items()},
        },
    ),
}
"""Settings of a choice, beside those of the cell, and the ways that run with it."""


def figures(searches: list[Search]) -> Figures:
    """Scores of the best models of one way."""
    losses = [loss_of(s.outcome.validation) for s in searches if s.outcome.validation]
    accuracies = [search.score(ACCURACY) for search in searches]
    return {
        "seeds": [search.seed for search in searches],
        "mean_loss": mean(losses),
        "accuracy": [round(each, 3) for each in accuracies],
        "mean_accuracy": mean(accuracies),
    }


def differences(choices: Mapping[str, Figures]) -> Figures:
    """Each choice less the defaults; a way that does not run there is compared with `revo`."""
    usual, found = choices.get("defaults", {}), Figures()
    for choice, ways in choices.items():
        for way, own in ways.items():
            beside = usual.get(way, usual.get(OURS))
            if choice != "defaults" and beside:
                own_gains = gains(own, beside, "accuracy")
                found.setdefault(choice, {})[way] = difference([own_gains], [choice])
    correct({f"{choice} {way}": own for choice, ways in found.items() for way, own in ways.items()})
    return found


def main() -> None:
    """Run what is not finished, print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=CHOICES, default=list(CHOICES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--weights", default=str(WEIGHTS), help="of the digits' network")
    parser.add_argument("--runs", type=Path, default=Path("revo_results/ablations"))
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of all")
    arguments, record = begin(parser, "ablations", MEASURES)
    use_weights(arguments.weights)
    seeds, runs = arguments.seeds, arguments.runs.absolute()
    choices: dict[str, Figures] = {}
    revisions: set[str | None] = set()
    for choice in arguments.only:
        own, ways = CHOICES[choice]
        for way, method in ways.items():
            settings = merged(settings_of("A"), own, method)
            found = searched(f"{choice}-{way}", settings, way, seeds, runs, arguments.settings)
            choices.setdefault(choice, {})[way] = figures(found)
            revisions |= {search.revision for search in found}
    record.finish({"choices": choices, "differences": differences(choices)}, seeds, revisions)


if __name__ == "__main__":
    main()
