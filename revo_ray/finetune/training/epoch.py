"""The outcome of one epoch."""

from __future__ import annotations

from dataclasses import dataclass

from revo_ray.objective import Scores


@dataclass(frozen=True)
class Epoch:
    """The outcome of one pass over the training images.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the images, each before its step; None if nothing trains or the
            epoch diverged.
        validation: scores after the epoch; without a loss if the epoch was not validated, or the
            validation loss is not finite or above `LOSS_LIMIT`.
        images: training images processed since the run began.
        seconds: time since the run began, without the time that the caller spent between epochs.
        diverged: the training loss, or the last validation loss, is not finite or above
            `LOSS_LIMIT`; no epoch follows.
    """

    epoch: int
    train_loss: float | None
    validation: Scores
    images: int
    seconds: float
    diverged: bool
