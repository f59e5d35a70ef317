"""Early stopping: one of Ray Tune's schedulers, for one search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from revo_ray.errors import SearchError
from revo_ray.methods import Method
from revo_ray.objective import Metric
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.settings.schema import SearchConfig


class Halving:
    """Passes the evaluations of one search to its scheduler.

    Asynchronous halving knows an evaluation by its number, not by its trial: one that is made
    again after its worker died finds its own entries in the rungs. Other schedulers get the
    trials themselves.

    Args:
        scheduler: with `time_attr` epoch, and the objective's column and mode. It may not pause
            trials.
        objective: the metric that it judges by.
        seed: seed of its draws from numpy's global random state.
    """

    def __init__(self, scheduler: TrialScheduler, objective: Metric, seed: int) -> None:
        self._scheduler, self._objective = scheduler, objective
        self._by_number = isinstance(scheduler, AsyncHyperBandScheduler)
        self._random = np.random.RandomState(seed)
        self._added: set[int] = set()

    def rebuild(self, rows: Iterable[Evaluation]) -> None:
        """Enter the curves of finished evaluations, so that a resumed search knows its rungs."""
        if not self._by_number:
            return
        for row in rows:
            if row.status == "cached":
                continue
            self.add(row.evaluation, None)
            # An evaluation that ended by itself was not judged after its last epoch.
            judged = row.curve[:-1] if row.status in ("ok", "diverged") else row.curve
            for point in judged:
                value = self._objective.value(point.scores)
                self.result(row.evaluation, None, point.epoch, value, None)

    def add(self, evaluation: int, trial: Trial | None, controller: Any = None) -> None:
        """An evaluation begins."""
        if evaluation in self._added:
            return
        self._added.add(evaluation)
        with self._own_draws():
            self._scheduler.on_trial_add(controller, self._known_as(evaluation, trial))

    def result(
        self, evaluation: int, trial: Trial | None, epoch: int, value: float | None, controller: Any
    ) -> str:
        """Judge an evaluation after an epoch: CONTINUE or STOP.

        Raises:
            SearchError: the scheduler pauses trials.
        """
        objective = self._objective
        result = {"epoch": epoch, objective.column: objective.worst if value is None else value}
        trial = self._known_as(evaluation, trial)
        decision = str(self._scheduler.on_trial_result(controller, trial, result))
        if decision == TrialScheduler.PAUSE:
            raise SearchError(
                f"the method's scheduler, {type(self._scheduler).__name__}, pauses evaluations; "
                "give one that only stops them, such as ASHAScheduler"
            )
        return decision

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


def make_halving(method: Method, config: SearchConfig) -> Halving | None:
    """The early stopping of a method's scheduler; None if it has none."""
    scheduler, search = method.scheduler(config.search, config.train), config.search
    return None if scheduler is None else Halving(scheduler, search.metric, search.seed)
