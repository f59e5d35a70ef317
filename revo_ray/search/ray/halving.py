"""Whoever stops evaluations early: one of Ray Tune's schedulers, for one search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler, TrialScheduler

from revo_ray.rundir.evaluation import Evaluation

NO_LOSS = 1e6
"""What an epoch without a finite loss counts as; none that counts is above it (`LOSS_LIMIT`)."""


class Halving:
    """Routes the evaluations of one search to its scheduler.

    Asynchronous halving knows an evaluation by its number, not by its trial: one that is made
    again after its worker died finds its own entries in the rungs. Synchronous halving pauses
    trials, so it needs the trials themselves.

    Args:
        scheduler: with `time_attr` epoch, metric val_loss and mode min.
        seed: of whatever it draws from numpy's global random state.
    """

    def __init__(self, scheduler: TrialScheduler, seed: int) -> None:
        self._scheduler = scheduler
        self._by_number = isinstance(scheduler, AsyncHyperBandScheduler)
        self._random = np.random.RandomState(seed)
        self._added: set[int] = set()

    @property
    def pauses(self) -> bool:
        """Whether it stops a trial for a while, to go on with it later."""
        return isinstance(self._scheduler, HyperBandScheduler)

    def rebuild(self, rows: Iterable[Evaluation]) -> None:
        """Enter the curves of finished evaluations, so that a resumed search knows its rungs."""
        if not self._by_number:
            return
        for row in rows:
            if row.status == "cached":
                continue
            self.add(row.evaluation, None)
            # The last epoch of an evaluation that was not stopped was not judged.
            judged = row.curve if row.status == "stopped" else row.curve[:-1]
            for point in judged:
                self.result(row.evaluation, None, point.epoch, point.val_loss, None)

    def add(self, evaluation: int, trial: Trial | None, controller: Any = None) -> None:
        """An evaluation begins."""
        if evaluation in self._added:
            return
        self._added.add(evaluation)
        with self._own_draws():
            self._scheduler.on_trial_add(controller, self._known_as(evaluation, trial))

    def result(
        self,
        evaluation: int,
        trial: Trial | None,
        epoch: int,
        val_loss: float | None,
        controller: Any,
    ) -> str:
        """What becomes of an evaluation after an epoch: CONTINUE, PAUSE or STOP."""
        result = {"epoch": epoch, "val_loss": NO_LOSS if val_loss is None else val_loss}
        trial = self._known_as(evaluation, trial)
        return str(self._scheduler.on_trial_result(controller, trial, result))

    def gone(self, evaluation: int, trial: Trial, controller: Any) -> None:
        """A trial ended, for whatever reason."""
        if isinstance(self._scheduler, HyperBandScheduler) and evaluation in self._added:
            self._added.remove(evaluation)
            self._scheduler.on_trial_remove(controller, trial)

    def choose(self, controller: Any, idle: bool) -> Trial | None:
        """The next trial to start or to go on with, where it pauses trials.

        Args:
            idle: the search has no more trials to start now, so that none should be waited for.
        """
        if not self.pauses:
            return None
        chosen = self._scheduler.choose_trial_to_run(controller)
        close = getattr(self._scheduler, "close_waiting", None)  # Ray's own waits for nobody
        if chosen is None and idle and close is not None:
            close(controller)
            chosen = self._scheduler.choose_trial_to_run(controller)
        return chosen

    @property
    def survivors(self) -> bool:
        """Whether a paused trial has earned to go on: before others begin."""
        nobody: Any = None
        chosen = self._scheduler.choose_trial_to_run(nobody) if self.pauses else None
        return chosen is not None and chosen.status == Trial.PAUSED

    def _known_as(self, evaluation: int, trial: Trial | None) -> Any:
        return SimpleNamespace(trial_id=str(evaluation)) if self._by_number else trial

    @contextmanager
    def _own_draws(self) -> Iterator[None]:
        """ASHA draws a trial's bracket from the global state, which is the user's."""
        before = np.random.get_state()
        np.random.set_state(self._random.get_state())
        try:
            yield
        finally:
            self._random.set_state(np.random.get_state())
            np.random.set_state(before)
