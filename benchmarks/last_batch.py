"""Measures how much a last batch of few images harms a training with BatchNorm.

64 images and a few more are fine-tuned for 10 epochs in batches of 32, at one rate for all units.
Either the few that are left over are a batch (`cut`), or they share with the batch before
(`shared`, as revo-ray trains). Prints one JSON line: for the images of each cell, each optimizer
and number of images left over, the mean test accuracy of both in percent, over two rates; and the
difference in points with its t interval of 95 %, paired by seed. A training that diverged has 0 %.

    python -m benchmarks.pretrain build/pretrained
    python -m benchmarks.last_batch [--cells A D] [--left 2 4 8 12] [--seeds 5]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from benchmarks.cell_gains import difference
from benchmarks.cells import IMAGES, settings_of
from benchmarks.record import TRAINING, begin
from benchmarks.runs import percent
from benchmarks.scale import WEIGHTS, mean, use_weights
from revo_ray.data.table.image_table import prepare_table, split_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_network
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import SearchConfig

MEASURES = (*TRAINING, "benchmarks/cells.py", "benchmarks/scale.py")
WAYS = ("cut", "shared")
RATES = {"adamw": (1e-3, 3e-3), "sgd": (1e-2, 3e-2)}
WHOLE = 2
"""Batches before the images that are left over."""


@dataclass(frozen=True)
class Case:
    """One fine-tuning; `left` images are left over."""

    seed: int
    optimizer: str
    left: int
    rate: float
    way: str


def cut(order: Tensor, size: int) -> list[Tensor]:
    """Batches of `size` images, and one of those that are left over."""
    return list(order.split(size))


def accuracy(config: SearchConfig, folder: Path, case: Case) -> float:
    """Test accuracy in percent of one fine-tuning; 0 if it diverged."""
    torch.set_num_threads(1)
    momentum = 0.9 if case.optimizer == "sgd" else 0.0
    own = {"optimizer": case.optimizer, "momentum": momentum, "seed": case.seed}
    train = config.train.model_copy(update=own)
    table = prepare_table(config.data, folder)
    splits = split_table(table, config.data)
    count = WHOLE * train.batch_size + case.left
    if count > len(splits.train):
        raise ValueError(f"{case.left} left over: there are {len(splits.train)} training images")
    drawn = np.random.default_rng(case.seed).permutation(splits.train)
    splits = replace(splits, train=np.sort(drawn[:count]))
    backbone, units = load_network(config.model, config.data, train, table)
    tuner = FineTuner(backbone, units, table, splits, train)
    plain = patch("revo_ray.finetune.training.tuner.batches", cut)
    with plain if case.way == "cut" else nullcontext():
        *_, last = tuner.run(Plan((case.rate,) * len(units)))
    return 0.0 if last.diverged else percent(tuner.evaluate("test").finite.accuracy)


def compared(found: Mapping[Case, float]) -> dict[str, Any]:
    """Both ways by optimizer and number of images left over."""
    line: dict[str, Any] = {}
    for optimizer, left in dict.fromkeys((case.optimizer, case.left) for case in found):
        scores: dict[str, dict[int, list[float]]] = {way: {} for way in WAYS}
        for case, score in found.items():
            if (case.optimizer, case.left) == (optimizer, left):
                scores[case.way].setdefault(case.seed, []).append(score)
        means = {way: {seed: mean(s) for seed, s in own.items()} for way, own in scores.items()}
        gains = {seed: shared - means["cut"][seed] for seed, shared in means["shared"].items()}
        gain = difference([gains], ["images"])
        line[f"{optimizer}, {left} left"] = {
            **{way: mean([*own.values()]) for way, own in means.items()},
            "gain": {key: gain[key] for key in ("mean", "low", "high")},
        }
    return line


def main() -> None:
    """Fine-tune, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", nargs="+", choices=["A", "D", "E"], default=["A", "D"])
    parser.add_argument("--left", type=int, nargs="+", default=[2, 4, 8, 12])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--weights", default=str(WEIGHTS), help="of the digits' network")
    parser.add_argument("--tables", type=Path, default=Path("revo_results/.tables"))
    arguments, record = begin(parser, "last_batch", MEASURES)
    if min(arguments.left) < 2:
        parser.error("--left: BatchNorm cannot train on a batch of one image")
    use_weights(arguments.weights)
    cases = [
        Case(seed, optimizer, left, rate, way)
        for optimizer, rates in RATES.items()
        for seed, left, rate, way in product(range(arguments.seeds), arguments.left, rates, WAYS)
    ]
    line: dict[str, Any] = {"images": {}}
    for cell in arguments.cells:
        config = SearchConfig.model_validate(settings_of(cell))
        prepare_table(config.data, arguments.tables)
        train = partial(accuracy, config, arguments.tables)
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            found = dict(zip(cases, pool.map(train, cases), strict=True))
        line["images"][IMAGES[cell]] = compared(found)
    record.finish(line, range(arguments.seeds))


if __name__ == "__main__":
    main()
