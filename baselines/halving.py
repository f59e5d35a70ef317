"""Successive halving: Ray Tune's schedulers, judging the validation loss after each epoch."""

from __future__ import annotations

from typing import Any, Literal

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, HyperBandScheduler, TrialScheduler, hyperband

from revo_ray.errors import UserError

JUDGED: dict[str, Any] = {"time_attr": "epoch", "metric": "val_loss", "mode": "min"}


def make_scheduler(
    kind: Literal["asha", "hyperband"],
    epochs: int,
    *,
    reduction_factor: float | None = None,
    grace_period: int = 1,
) -> TrialScheduler:
    """A scheduler of Ray Tune.

    - `asha` has rungs at grace_period·reduction_factor^k epochs. Who is worse there than the best
      1/reduction_factor of those that came before is stopped. (Li et al. 2020, A system for
      massively parallel hyperparameter tuning; one bracket.)
    - `hyperband` fills one bracket after the other, pauses each at its rungs and goes on with its
      best; the last survivors train to the end. (Li et al. 2018, Hyperband.)

    Args:
        kind: which of them.
        epochs: of a whole evaluation.
        reduction_factor: one in so many goes on at each rung; None: Ray's defaults, 4 and 3.
        grace_period: the first rung of `asha`, in epochs.

    Raises:
        UserError: the first rung lies beyond the last epoch.
    """
    if kind == "hyperband":
        return HyperBand(max_t=epochs, reduction_factor=reduction_factor or 3, **JUDGED)
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


class HyperBand(HyperBandScheduler):
    """Ray's, with brackets that fill, that nobody waits in for ever, and survivors that finish.

    Ray's own halves a bracket as soon as the trials that happen to have begun are at its rung,
    which on one worker is always the case; after the first halving it no longer looks whether a
    trial that ended by itself was the one that the paused others waited for; and it rounds rungs
    down, so that of 10 epochs most survivors would be stopped after 9.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(stop_last_trials=False, **settings)

    def close_waiting(self, tune_controller: Any) -> None:
        """Where all trials wait, and no more will come to join them, halve what there is."""
        brackets = [bracket for band in self._hyperbands for bracket in band if bracket]
        trials = [trial for bracket in brackets for trial in bracket.current_trials()]
        if not all(trial.status == Trial.PAUSED for trial in trials):
            return
        for bracket in brackets:
            if not bracket.filled():
                bracket.closed = True
                self._process_bracket(tune_controller, bracket)

    def _create_bracket(self, s: int) -> Bracket:
        return Bracket(
            time_attr=self._time_attr,
            max_trials=self._get_n0(s),
            init_t_attr=self._get_r0(s),
            max_t_attr=self._max_t_attr,
            eta=self._eta,
            s=s,
            stop_last_trials=self._stop_last_trials,
        )

    def _process_bracket(self, tune_controller: Any, bracket: Any) -> str:
        if not bracket.filled():
            return TrialScheduler.PAUSE
        try:
            return super()._process_bracket(tune_controller, bracket)
        finally:
            bracket.is_being_processed = False


class Bracket(hyperband._Bracket):
    """Ray's, which takes as many trials as it was made for, whatever becomes of them."""

    closed = False
    """Whether it takes no more, though it has fewer."""

    def filled(self) -> bool:
        """Whether it takes no more trials."""
        return self.closed or len(self._all_trials) >= self._n0
