"""Says beforehand how much GPU memory evaluations need that share a GPU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.search.core.slots import slots
from revo_ray.settings.schema import SearchConfig

if TYPE_CHECKING:
    from revo_ray.finetune.network.backbone import Backbone


def gpu_memory_line(
    config: SearchConfig,
    backbone: Backbone,
    table: Table,
    splits: Splits,
    device_bytes: int | None = None,
) -> str | None:
    """A line on the GPU memory of the evaluations that share a GPU; None if none do.

    Args:
        backbone: the network, as it was loaded.
        device_bytes: memory of a GPU, if it is known. Reading it takes memory of the GPU.
    """
    resources = config.resources
    gpus = resources.gpus_per_trial
    if gpus == "auto" or not 0 < gpus < 1 or resources.device == "cpu":
        return None
    import torch

    from revo_ray.finetune.training.feed import SHARE, Feed
    from revo_ray.finetune.training.gpu_memory import estimate_gpu_memory

    feed = Feed(table, splits.validation, torch.device("cpu"), resident=False)
    image = table.images.shape[1:]
    images = math.prod(image) * (len(splits.train) + len(splits.validation))
    if device_bytes is not None and images * SHARE > device_bytes:
        images = 0  # they are streamed
    needs = estimate_gpu_memory(backbone.model, config.train, image, feed.room, images)
    together = slots(1, gpus)
    parts = ", ".join(f"{name} {_gb(size)}" for name, size in vars(needs).items() if size)
    have = "" if device_bytes is None else f" of {_gb(device_bytes)} GB"
    line = (
        f"{config.model.name}, GPU memory, estimated: {_gb(needs.total)} GB an evaluation "
        f"({parts}), {_gb(needs.total * together)} GB for the {together} that share a GPU{have}"
    )
    if device_bytes is not None and needs.total * together > device_bytes:
        line += f"; raise resources.gpus_per_trial ({gpus:g}) or lower train.batch_size"
    return line


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f}" if size < 1e10 else f"{size / 1e9:.1f}"
