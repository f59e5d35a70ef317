"""Successive halving: Ray Tune's ASHA, judging the validation loss after each epoch."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import ASHAScheduler

from revo_ray.errors import UserError

JUDGED: dict[str, Any] = {"time_attr": "epoch", "metric": "val_loss", "mode": "min"}


def make_scheduler(
    epochs: int, *, reduction_factor: float | None, grace_period: int
) -> ASHAScheduler:
    """Make Ray Tune's scheduler of asynchronous successive halving, with one bracket.

    Its rungs are at grace_period·reduction_factor^k epochs. It stops an evaluation that is worse
    there than the best 1/reduction_factor of those that came before. (Li et al. 2020, A system for
    massively parallel hyperparameter tuning.)

    Args:
        epochs: of a whole evaluation.
        reduction_factor: one in so many goes on at each rung; None: Ray's default, 4.
        grace_period: the first rung, in epochs.

    Raises:
        UserError: the first rung lies beyond the last epoch.
    """
    if grace_period > epochs:
        raise UserError(
            f"is {grace_period}; it may be at most train.epochs, {epochs}",
            key="method.grace_period",
        )
    return ASHAScheduler(
        max_t=epochs,
        grace_period=grace_period,
        reduction_factor=reduction_factor or 4,
        brackets=1,
        **JUDGED,
    )
