"""Compares BatchNorm's statistics after few steps: running averages against precise ones.

The quick start's network is fine-tuned on some 90 images of each data set, at one rate for all
units and under several seeds of the head and the data order; then validated with either statistics,
of the very same weights. Prints one JSON line: mean validation loss and accuracy in percent for
each data set and rate, and over all of them how often the precise ones are better.

    python -m benchmarks.batch_norm [--data digits] [--seeds 3] [--rates 0.001 0.003 0.01]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import TRAINING, begin
from benchmarks.runs import loss_of, percent
from revo_ray.data.table.image_table import prepare_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_tuner
from revo_ray.objective import Scores
from revo_ray.settings.schema import SearchConfig

MEASURES = TRAINING
DATA = {
    "digits": ["data.source=digits"],
    "fashion-mnist": ["data.source=fashion-mnist", "data.splits=drawn", "data.max_images=1800"],
}


def both(config: SearchConfig, folder: Path, rate: float, seed: int) -> dict[str, Scores]:
    """Validation with running and with precise statistics, after one fine-tuning."""
    table = prepare_table(config.data, folder)
    train = config.train.model_copy(update={"seed": seed, "batch_norm": "running"})
    tuner = load_tuner(config.model, config.data, train, table.path)
    list(tuner.run(Plan((rate,) * len(tuner.units))))
    running = tuner.evaluate("validation")
    tuner.train = train.model_copy(update={"batch_norm": "precise"})
    tuner.update_norms()
    return {"running": running, "precise": tuner.evaluate("validation")}


def averaged(found: Sequence[Scores]) -> dict[str, float]:
    """Mean loss, and mean accuracy in percent."""
    return {
        "loss": round(statistics.mean(map(loss_of, found)), 3),
        "accuracy": round(statistics.mean(percent(each.accuracy) for each in found), 1),
    }


def main() -> None:
    """Fine-tune, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.001, 0.003, 0.01])
    parser.add_argument("--tables", type=Path, default=Path("revo_results/.tables"))
    arguments, record = begin(parser, "batch_norm", MEASURES)
    torch.set_num_threads(1)
    line: dict[str, Any] = {"seeds": arguments.seeds}
    better, total = 0, 0
    for name in arguments.data:
        config = SearchConfig.load(None, DATA[name])
        for rate in arguments.rates:
            runs = [both(config, arguments.tables, rate, seed) for seed in range(arguments.seeds)]
            line[f"{name} at {rate:g}"] = {
                kind: averaged([run[kind] for run in runs]) for kind in ("running", "precise")
            }
            better += sum(loss_of(run["precise"]) < loss_of(run["running"]) for run in runs)
            total += len(runs)
    line["precise_is_better"] = f"{better} of {total}"
    record.finish(line, range(arguments.seeds))


if __name__ == "__main__":
    main()
