"""One pass over the training images, and its outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from revo_ray.finetune.training.layerwise import LayerwiseOptimizer
from revo_ray.finetune.training.weight_average import WeightAverage
from revo_ray.objective import Scores

LogitsAt = Callable[[Tensor], Tensor]
"""Positions (B,) in the training split to logits (B, C)."""
LossAt = Callable[[Tensor], Tensor]
"""Positions (B,) in the training split to the mean loss () that training lowers."""


@dataclass(frozen=True)
class Epoch:
    """The outcome of one pass over the training images.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the images, each before its step, of the loss that training lowers:
            cross-entropy, with smoothed or mixed labels where `train` asks for them; None if
            nothing trains or the epoch diverged.
        validation: scores after the epoch; without a loss if the epoch was not validated, or the
            validation loss is not finite or above `LOSS_LIMIT`.
        images: training images processed since the run began.
        seconds: time since the run began, without the time that the caller spent between epochs.
        diverged: the training loss, or the last validation loss, is not finite or above
            `LOSS_LIMIT`; no epoch follows.
        logits: (n, C) of the validation images after the epoch; None if it was not validated.
    """

    epoch: int
    train_loss: float | None
    validation: Scores
    images: int
    seconds: float
    diverged: bool
    logits: Tensor | None = None


def train_epoch(
    batches: Iterable[Tensor],
    set_gradients: Callable[[Tensor], Tensor],
    device: torch.device,
    optimizer: LayerwiseOptimizer,
    average: WeightAverage,
) -> tuple[float, int]:
    """Take one step for each batch of positions (B,) in the training split.

    Args:
        set_gradients: sets the gradients of a batch's mean loss, and returns that loss ().
        device: device of the losses.
        average: takes in the weights after each step.

    Returns:
        the mean loss, each image's before its step, and the number of images. The loss is not
        finite if that of a step was not; on a CPU that step is the last, and moves nothing.
    """
    total, images = torch.zeros((), device=device), 0
    for index in batches:
        total += set_gradients(index) * len(index)
        images += len(index)
        # On a GPU the sum is read after the last step, since each reading waits for the device.
        if total.device.type == "cpu" and not total.isfinite():
            return math.nan, images
        optimizer.step()
        average.update()
    return total.item() / images, images
