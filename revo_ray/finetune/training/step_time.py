"""Seconds of a training step, in the process and on the device that ask."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.data.table.images import Images
from revo_ray.errors import UserError
from revo_ray.finetune.network.backbone import Backbone
from revo_ray.finetune.network.image_size import ImageSizeError
from revo_ray.finetune.network.units import Unit
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_network
from revo_ray.finetune.training.exhausted import StepMemoryError, exhausted_memory
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import DataConfig, ModelConfig, TrainConfig

TIMED = 3
"""Steps that are timed; their median is taken, for another program may disturb one."""
ONCE = {
    **{"epochs": TIMED + 2, "batch_norm": "running", "validate_epochs": "last"},
    "warmup_epochs": 0.0,
    "class_weights": "none",  # the batch may lack a class
}
"""Settings of a training whose epochs, but for the last, are one step each and nothing beside."""
RATE = 1e-12
"""A learning rate that trains, and at which nothing diverges."""


def time_steps(
    model: str, classes: int, sizes: Sequence[int], train: TrainConfig, device: Any
) -> dict[int, float]:
    """Time a step in which all trains, at each image size, on synthetic images.

    Args:
        model: name of the network. Its weights are random.
        classes: number of classes.
        sizes: image sizes. Smaller ones that the network does not take are left out.
        train: settings of the training; the images of one batch are made up.
        device: the device to train on.

    Returns:
        Seconds of a step for one of its images, by image size.

    Raises:
        StepMemoryError: a step needs more memory than there is.
        UserError: the network cannot be had, or does not take the largest size.
    """
    gc.collect()
    torch.cuda.empty_cache()  # of an earlier try that ran out of memory
    found, network = {}, ModelConfig(name=model, weights="none")
    for size in sizes:
        try:
            table = _table(train.batch_size, classes, size)
            backbone, units = load_network(network, DataConfig(image_size=size), train, table)
            rows = np.arange(train.batch_size)
            splits = Splits(rows, rows[:1], rows[:1])
            seconds = time_step(backbone, units, table, splits, train, device)
            found[size] = seconds / train.batch_size
        except ImageSizeError:
            if size == max(sizes):
                raise
        except Exception as error:
            if exhausted_memory(error) is None:
                raise
            raise StepMemoryError(train.batch_size, size) from None
    return found


def time_step(
    backbone: Backbone,
    units: Sequence[Unit],
    table: Table,
    splits: Splits,
    train: TrainConfig,
    device: Any,
) -> float:
    """Median seconds of a few training steps in which all trains, after one that is not timed.

    Args:
        backbone, units: the network.
        table: images.
        splits: its training images are those of one step.
        train: settings of the training.
        device: the device to train on.

    Raises:
        UserError: the network has no finite loss.
    """
    once = train.model_copy(update=ONCE)
    tuner = FineTuner(backbone, units, table, splits, once, device=device)
    epochs = list(islice(tuner.run(Plan((RATE,) * len(units))), 1 + TIMED))
    if epochs[-1].diverged:
        raise UserError(
            f"{backbone.name} with these weights has no finite loss", key="model.weights"
        )
    return statistics.median(after.seconds - before.seconds for before, after in pairwise(epochs))


def _table(images: int, classes: int, size: int) -> Table:
    """A table in memory, of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, 3, size, size), np.uint8)
    names = tuple(map(str, range(classes)))
    labels = np.arange(images, dtype=np.int64) % classes
    nothing = pa.table({name: pa.nulls(images, pa.string()) for name in ("name", "group", "split")})
    return Table(Path(), Images([pixels], size), labels, names, nothing)
