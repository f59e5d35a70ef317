"""Successive halving: Ray Tune's ASHA, judging the objective after each epoch."""

from __future__ import annotations

from ray.tune.schedulers import ASHAScheduler

from revo_ray.methods import Metric, UserError


def make_scheduler(
    epochs: int, objective: Metric, *, reduction_factor: float | None, grace_period: int
) -> ASHAScheduler:
    """Make Ray Tune's scheduler of asynchronous successive halving, with one bracket.

    Its rungs are at grace_period·reduction_factor^k epochs. It stops an evaluation that is worse
    there than the best 1/reduction_factor of those that came before. (Li et al. 2020, A system for
    massively parallel hyperparameter tuning.)

    Args:
        epochs: epochs of a whole evaluation.
        objective: metric that evaluations are compared by.
        reduction_factor: evaluations at a rung for each that goes on; None: Ray's default, 4.
        grace_period: first rung, in epochs.

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
        time_attr="epoch",
        metric=objective.column,
        mode=objective.mode,
    )
