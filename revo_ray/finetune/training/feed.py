"""The images of one split on their way to the device: batches, normalisation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from revo_ray.data.splits.split import Indices
from revo_ray.data.table.image_table import Table
from revo_ray.finetune.network.backbone import Statistics

SHARE = 4
"""Images stay on a GPU if they take at most 1/SHARE of its free memory."""
_CHUNK_BYTES = 2**24


class Feed:
    """Batches of a split, from the device's memory or from the mapped table.

    On a CPU nothing is kept: each batch is copied from the page cache, which all trials of a
    machine share. On a GPU without room for the images it is the same. The numbers do not depend on
    it.

    Args:
        table: images and labels.
        indices: (n,) the split's positions in the table.
        device: where batches are wanted.
        resident: keep the images there.

    Attributes:
        labels: (n,) classes, on the device.
        in_order: (n,) all positions in the split, where `pixels` reads them fastest.
        room: images of a batch that leaves room for activations: 256 up to 128 pixels, 83 at 224.
    """

    def __init__(
        self, table: Table, indices: Indices, device: torch.device, *, resident: bool
    ) -> None:
        self.device = device
        self.labels = torch.from_numpy(table.labels[indices]).to(device)
        self._images, self._indices = table.images, indices
        self._resident = self._load() if resident else None
        # Positions on another device than the images cost a wait for the device.
        self.in_order = torch.arange(len(indices), device=device if resident else "cpu")
        self.room = max(16, min(256, 2**22 // table.images.shape[-1] ** 2))

    def __len__(self) -> int:
        return len(self._indices)

    def pixels(self, index: Tensor) -> Tensor:
        """Images (B, 3, S, S) uint8 at positions (B,) in the split."""
        resident = self._resident
        return self._read(index.cpu().numpy()) if resident is None else resident[index]

    def _read(self, index: Indices) -> Tensor:
        images = torch.from_numpy(self._images[self._indices[index]])
        if self.device.type == "cpu":
            return images
        return images.pin_memory().to(self.device, non_blocking=True)

    def _load(self) -> Tensor:
        """(n, 3, S, S) on the device, copied in parts: the host may have less memory than it."""
        shape = (len(self), *self._images.shape[1:])
        loaded = torch.empty(shape, dtype=torch.uint8, device=self.device)
        step = max(1, _CHUNK_BYTES // loaded[:1].nbytes) if len(self) else 1
        for start in range(0, len(self), step):
            part = np.arange(start, min(start + step, len(self)))
            loaded[start : start + step] = self._read(part)
        return loaded


def normalisation(
    mean: Statistics, std: Statistics, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """A function from images (B, 3, S, S) uint8 to float32 normalised by a mean and a deviation."""
    shift, scale = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (mean, std))
    return lambda images: ((images.float() / 255) - shift) / scale


def batches(order: Tensor, size: int) -> list[Tensor]:
    """Cut `order` (n,) into batches; a last one of one image joins the one before (BatchNorm)."""
    edges = list(range(0, len(order), size))
    if len(edges) > 1 and len(order) - edges[-1] == 1:
        edges.pop()
    return [order[start:stop] for start, stop in pairwise([*edges, len(order)])]


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights (C,) float32 of classes: 1 / images, scaled to a mean of 1 over the labels (n,).

    They are scikit-learn's `class_weight="balanced"`: n / (C · images of the class).
    """
    counts = torch.bincount(labels.cpu(), minlength=classes).clamp(min=1).double()
    return (len(labels) / (classes * counts)).float().to(labels.device)


def fits(table: Table, images: int, device: torch.device) -> bool:
    """Whether that many of a table's images should stay on the device; on a CPU never."""
    size = images * table.images.nbytes // max(1, len(table.images))
    return device.type == "cuda" and size * SHARE <= torch.cuda.mem_get_info(device)[0]
