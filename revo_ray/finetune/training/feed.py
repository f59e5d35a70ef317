"""The images of one split on their way to the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from revo_ray.data.splits.split import Indices
from revo_ray.data.table.image_table import Table

SHARE = 4
"""Images stay on a GPU where they take at most this part of its free memory: a quarter."""
_CHUNK_BYTES = 2**24


class Feed:
    """Batches of a split, from the device's memory or from the mapped table.

    On a CPU, and for images that the GPU has no room for, nothing is kept: each batch is copied
    from the page cache, which all trials of a machine share. The numbers are the same either way.

    Args:
        table: images and labels.
        indices: (n,) the split's positions in the table.
        device: where batches are wanted.
        resident: keep the images there.
    """

    def __init__(
        self, table: Table, indices: Indices, device: torch.device, *, resident: bool
    ) -> None:
        self.device = device
        self.index_device = device if resident else torch.device("cpu")
        """Where the positions for `batch` should be: elsewhere they cost a wait for the device."""
        self._images = table.images
        self._indices = indices
        self._labels = torch.from_numpy(table.labels[indices]).to(device)
        self._resident = self._load() if resident else None

    def __len__(self) -> int:
        return len(self._indices)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) uint8 and labels (B,) at positions (B,) in the split."""
        labels = self.labels(index)
        if self._resident is not None:
            return self._resident[index], labels
        return self._read(index.cpu().numpy()), labels

    def labels(self, index: Tensor) -> Tensor:
        """Labels (B,) at positions (B,) in the split."""
        return self._labels[index.to(self.device)]

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


def fits(table: Table, images: int, device: torch.device) -> bool:
    """Whether that many of a table's images should stay on the device; on a CPU never."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    size = images * table.images.nbytes // max(1, len(table.images))
    return size * SHARE <= free
