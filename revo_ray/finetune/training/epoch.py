"""One pass over the training images: its batches, and what it gave."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from revo_ray.objective import Scores


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images gave.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the images, each before its step; None if nothing trains or the
            epoch diverged.
        validation: scores after the epoch; without a loss if the epoch was not validated, or the
            validation loss is not finite or absurd.
        images: training images processed since the run began.
        seconds: time since the run began, without what the caller spent between epochs.
        diverged: the training loss, or the last validation loss, is not finite or above
            `LOSS_LIMIT`; no epoch follows.
    """

    epoch: int
    train_loss: float | None
    validation: Scores
    images: int
    seconds: float
    diverged: bool


def batches(order: Tensor, size: int) -> list[Tensor]:
    """Cut `order` (n,) into batches; a last one of one image joins the one before (BatchNorm)."""
    edges = list(range(0, len(order), size))
    if len(edges) > 1 and len(order) - edges[-1] == 1:
        edges.pop()
    return [order[start:stop] for start, stop in pairwise([*edges, len(order)])]
