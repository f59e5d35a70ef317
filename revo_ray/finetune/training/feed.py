"""The images of one split on their way to the device: batches, normalisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from revo_ray.data.splits.split import Indices
from revo_ray.data.table.image_table import Table
from revo_ray.finetune.network.backbone import Statistics
from revo_ray.finetune.training.transfer import to_device

SHARE = 4
"""Images stay on a GPU if they take at most 1/SHARE of its free memory."""
_CHUNK_BYTES = 2**24


class Feed:
    """Batches of a split, from the device's memory or from the mapped table.

    On a CPU nothing is kept: each batch is copied from the page cache, which all trials of a
    machine share. For a GPU without room for the images a thread reads one batch ahead, into
    page-locked memory that the GPU copies from while it computes. The numbers do not depend on it.

    Args:
        table: images and labels.
        indices: (n,) the split's positions in the table.
        device: where batches are wanted.
        resident: keep the images there.
        streams: read ahead what is announced; None: for a GPU, if the images are not there.

    Attributes:
        labels: (n,) classes, on the device.
        in_order: (n,) all positions in the split, where `pixels` reads them fastest.
        room: images of a batch that leaves room for activations: 256 up to 128 pixels, 83 at 224.
    """

    def __init__(
        self,
        table: Table,
        indices: Indices,
        device: torch.device,
        *,
        resident: bool,
        streams: bool | None = None,
    ) -> None:
        self.device = device
        self._streams = device.type == "cuda" and not resident if streams is None else streams
        self._announced: list[Tensor] = []  # the next one is the last
        self._ahead: Iterator[Tensor] = iter(())
        self.labels = torch.from_numpy(table.labels[indices]).to(device)
        self._images, self._indices = table.images, indices
        self._resident = self._load() if resident else None
        # Positions on another device than the images cost a wait for the device.
        self.in_order = torch.arange(len(indices), device=device if resident else "cpu")
        self.room = max(16, min(256, 2**22 // table.images.shape[-1] ** 2))

    def __len__(self) -> int:
        return len(self._indices)

    def labels_at(self, index: Tensor) -> Tensor:
        """Classes (B,) at positions (B,) in the split."""
        return self.labels[to_device(index, self.device)]

    def pixels(self, index: Tensor) -> Tensor:
        """Images (B, 3, S, S) uint8 at positions (B,) in the split."""
        if self._announced and self._announced[-1] is index:
            self._announced.pop()
            return next(self._ahead)
        resident = self._resident
        return self._read(index.cpu().numpy()) if resident is None else resident[index]

    def announce(self, parts: Sequence[Tensor]) -> None:
        """Say which batches `pixels` will be asked for, in this order; others may come between."""
        if self._streams:
            self._announced = list(reversed(parts))
            self._ahead = self._read_ahead([part.numpy() for part in parts])

    def _read_ahead(self, parts: Sequence[Indices]) -> Iterator[Tensor]:
        """The images of each part on the device, read in a thread while the last one is used."""
        pinned = self.device.type == "cuda"
        shape = (max(map(len, parts), default=0), *self._images.shape[1:])
        buffers = [torch.empty(shape, dtype=torch.uint8, pin_memory=pinned) for _ in range(2)]
        sent: list[torch.cuda.Event | None] = [None, None]

        def fill(number: int) -> Tensor:
            part, copied = parts[number], sent[number % 2]
            if copied is not None:
                copied.synchronize()  # the GPU has read what is about to be overwritten
            buffer = buffers[number % 2][: len(part)]
            self._images.read(self._indices[part], out=buffer.numpy())
            return buffer

        with ThreadPoolExecutor(1, "revo-ray-images") as thread:
            coming = thread.submit(fill, 0) if parts else None
            for number in range(len(parts)):
                assert coming is not None
                buffer = coming.result()
                # To the CPU itself there is nothing to send: the copy lets the buffer be reused.
                images = buffer.to(self.device, non_blocking=True, copy=True)
                if pinned:
                    sent[number % 2] = event = torch.cuda.Event()
                    event.record()
                if number + 1 < len(parts):
                    coming = thread.submit(fill, number + 1)
                yield images

    def _read(self, index: Indices) -> Tensor:
        return to_device(torch.from_numpy(self._images[self._indices[index]]), self.device)

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
    """Cut `order` (n,) into batches of `size` images.

    The last two share their images evenly if the last would have less than half of `size`. A single
    image joins the batch before instead.
    """
    # BatchNorm divides by the deviation over a batch, which over few images can be near 0.
    edges = list(range(0, len(order), size))
    last = len(order) - edges[-1] if len(edges) > 1 else size
    if last == 1:
        edges.pop()
    elif 2 * last < size:
        edges[-1] -= (size - last) // 2
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
