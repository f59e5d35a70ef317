"""Seconds of a training step on synthetic images, in the process and on the device that ask."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.data.table.images import Images
from revo_ray.finetune.network.image_size import ImageSizeError
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_network
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import DataConfig, ModelConfig, TrainConfig

ONCE = {
    **{"epochs": 3, "batch_norm": "running", "validate_epochs": "last", "warmup_epochs": 0.0},
    "class_weights": "none",  # the batch may lack a class
}
"""Settings of a training whose first two epochs are one step each, and nothing beside it."""
RATE = 1e-12
"""A learning rate that trains, and at which nothing diverges."""


def time_steps(
    model: str, classes: int, sizes: Sequence[int], train: TrainConfig, device: Any
) -> dict[int, float]:
    """Time a step in which all trains, at each image size; the step before it is not timed.

    Args:
        model: name of the network. Its weights are random.
        classes: number of classes.
        sizes: image sizes. Of those that the network does not take, smaller ones are left out.
        train: settings of the training; the images of one batch are made up.
        device: the device to train on.

    Returns:
        Seconds of a step for one of its images, by image size.

    Raises:
        UserError: the network cannot be had, or does not take the largest size.
    """
    found = {}
    for size in sizes:
        try:
            found[size] = _time_step(model, classes, size, train, device) / train.batch_size
        except ImageSizeError:
            if size == max(sizes):
                raise
    return found


def _time_step(model: str, classes: int, size: int, train: TrainConfig, device: Any) -> float:
    table = _table(train.batch_size, classes, size)
    network = ModelConfig(name=model, weights="none")
    once = train.model_copy(update=ONCE)
    backbone, units = load_network(network, DataConfig(image_size=size), once, table)
    rows = np.arange(train.batch_size)
    splits = Splits(rows, rows[:1], rows[:1])
    tuner = FineTuner(backbone, units, table, splits, once, device=device)
    first, second = islice(tuner.run(Plan((RATE,) * len(units))), 2)
    return second.seconds - first.seconds


def _table(images: int, classes: int, size: int) -> Table:
    """A table in memory, of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, 3, size, size), np.uint8)
    names = tuple(map(str, range(classes)))
    labels = np.arange(images, dtype=np.int64) % classes
    nothing = pa.table({name: pa.nulls(images, pa.string()) for name in ("name", "group", "split")})
    return Table(Path(), Images([pixels], size), labels, names, nothing)
