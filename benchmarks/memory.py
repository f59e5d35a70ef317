"""Whether a worker grows: the resident memory of a process that makes one evaluation after another.

Plans are random: rates of two decades, about half of the units frozen, a frozen prefix now and
then. Every tenth evaluation's weights are copied, as those of a best one are. The growth is from
the tenth evaluation on: the most that the process then held, at the end of an evaluation, over what
it held after the tenth. Prints one JSON line.

    python -m benchmarks.memory [--model torchvision/resnet50] [--evaluations 100]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import TRAINING, begin
from revo_ray.data.table.image_table import prepare_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_tuner
from revo_ray.settings.schema import SearchConfig

MEASURES = TRAINING
WARM = 10


def resident_mb() -> float:
    """Memory of the machine that the process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def make_plan(count: int, rng: np.random.Generator) -> Plan:
    """Random rates; each unit frozen with probability 1/2, and a prefix every other time."""
    rates = 10 ** rng.uniform(-4, -2, count) * (rng.random(count) < 0.5)
    if rng.random() < 0.5:
        rates[: rng.integers(count)] = 0
    rates[-1] = 0.01
    return Plan(tuple(float(rate) for rate in rates))


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="torchvision/resnet50")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--optimizer", default="adamw")
    arguments, record = begin(parser, "memory", MEASURES)
    torch.set_num_threads(1)
    config = SearchConfig.load(
        None,
        [
            f"model.name={arguments.model}",
            "model.weights=none",
            f"data.image_size={arguments.side}",
            "data.max_images=100",
            "data.train_fraction=0.2",
            f"train.epochs={arguments.epochs}",
            f"train.optimizer={arguments.optimizer}",
        ],
    )
    held: list[float] = []
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        table = prepare_table(config.data, Path(folder))
        tuner = load_tuner(config.model, config.data, config.train, table.path)
        rng = np.random.default_rng(0)
        for number in range(arguments.evaluations):
            list(tuner.run(make_plan(len(tuner.units), rng)))
            if number % 10 == 0:
                tuner.state_dict()
            held.append(resident_mb())
    line = {
        **vars(arguments),
        "cache_mb": config.train.cache_mb,
        "first_mb": round(held[0], 1),
        "tenth_mb": round(held[WARM - 1], 1),
        "last_mb": round(held[-1], 1),
        "growth_mb": round(max(held[WARM:]) - held[WARM - 1], 1),
    }
    record.finish(line, [config.train.seed])


if __name__ == "__main__":
    main()
