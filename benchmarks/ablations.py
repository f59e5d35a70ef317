"""Compares choices beside the method: granularity, population, optimiser, schedule, range, length.

Tuned full fine-tuning and `revo-continuous` on the network and the images of
`studies/small-quickstart.yaml`, on three other seeds, with one choice changed at a time. Every
search has 500 epochs. Prints a table in Markdown, one row a choice: the mean best validation loss,
which is what a search sees, and the mean test accuracy in percent; writes FOLDER/table.md, and
FOLDER/searches.csv with the SHA-256 of each search's genomes. What is finished is not run again.

    python -m benchmarks.pretrain build/pretrained
    python -m benchmarks.ablations FOLDER [--only block stage] [--seeds 100 101 102] [--set …]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import SEARCHING, begin
from benchmarks.runs import clocked, revo_ray
from benchmarks.wins import Search, load, summary
from revo_ray.report.csv_tables import to_csv

MEASURES = (*SEARCHING, "benchmarks/wins.py", "benchmarks/studies/small-quickstart.yaml")
STUDY = Path(__file__).parent / "studies" / "small-quickstart.yaml"
REVO = {"name": "revo-continuous", "high": -1}
FULL = {"name": "full", "halving": "none"}
REVO_SGD = {"name": "revo-continuous", "high": 0}

SGD = "train.optimizer=sgd"
VARIANTS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "quickstart": ([REVO, FULL], []),
    "block": ([REVO], ["model.granularity=block"]),
    "stage": ([REVO], ["model.granularity=stage"]),
    "population-5": ([REVO], ["search.population=5"]),
    "population-20": ([REVO], ["search.population=20"]),
    "rates-to-1": ([REVO | {"high": 0}], []),
    "rates-from-1e-3": ([REVO | {"low": -3}], []),
    "ten-epochs": ([REVO, FULL], ["train.epochs=10", "search.evaluations=50"]),
    "cosine": ([REVO, FULL], ["train.schedule=cosine"]),
    "running-statistics": ([REVO, FULL], ["train.batch_norm=running"]),
    "momentum": ([REVO_SGD, FULL], [SGD, "train.momentum=0.9"]),
    "plain-sgd": ([REVO_SGD, FULL], [SGD]),
}
"""The methods that run, and what is set beside the study's own keys."""


def run(label: str, seeds: Sequence[int], folder: Path, extra: Sequence[str]) -> list[Search]:
    """The searches of a variant, finished."""
    methods, settings = VARIANTS[label]
    command = revo_ray(
        "study",
        f"name={label}",
        f"storage={folder}",
        f"study.methods={json.dumps(methods)}",
        f"study.seeds={list(seeds)}",
        "study.fractions=[0.05]",
        *settings,
        *extra,
        preset=str(STUDY),
    )
    clocked([*command, "--resume"])
    return load(folder / label)


def figures(searches: Sequence[Search]) -> dict[str, dict[str, float]]:
    """Mean validation loss and test accuracy in percent of each method of a variant."""
    found = {}
    for method in ("revo-continuous", "full"):
        own = [search.outcome for search in searches if search.method == method]
        losses = [each.validation.loss or 0.0 for each in own if each.validation]
        accuracies = [100 * (each.test.accuracy or 0.0) for each in own if each.test]
        if own:
            loss, accuracy = statistics.mean(losses), statistics.mean(accuracies)
            found[method] = {"loss": round(loss, 3), "accuracy": round(accuracy, 1)}
    return found


def row(label: str, found: dict[str, dict[str, float]]) -> str:
    """A row of the table."""
    texts = [label]
    for method in ("revo-continuous", "full"):
        own = found.get(method)
        texts += [f"{own['loss']:.3f}", f"{own['accuracy']:.1f}"] if own else ["", ""]
    return "| " + " | ".join(texts) + " |"


def main() -> None:
    """Run what is not finished, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--runs", type=Path, default=Path("revo_results/ablations"))
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE, of all")
    arguments, record = begin(parser, "ablations", MEASURES)
    head = ["choice", "`revo-continuous`: loss", "acc.", "`full`: loss", "acc."]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    print("\n".join(lines), flush=True)
    rows: list[dict[str, Any]] = []
    choices: dict[str, dict[str, dict[str, float]]] = {}
    revisions: set[str | None] = set()
    for label in arguments.only:
        searches = run(label, arguments.seeds, arguments.runs.absolute(), arguments.settings)
        choices[label] = figures(searches)
        revisions |= {search.revision for search in searches}
        lines.append(row(label, choices[label]))
        print(lines[-1], flush=True)
        rows += [{"choice": label} | summary(search) for search in searches]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "table.md").write_text("\n".join(lines) + "\n")
    (arguments.folder / "searches.csv").write_text(to_csv(rows))
    record.write({"choices": choices}, arguments.seeds, revisions)


if __name__ == "__main__":
    main()
