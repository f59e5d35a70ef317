"""Any number of searches as one Ray Tune experiment.

Tune sees one searcher, one scheduler and one callback, which share the `Assignments`. A worker that
one search leaves idle at its barrier serves another, and stays warm.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from revo_ray.errors import SearchError, last_line
from revo_ray.search.core.state import SearchState
from revo_ray.search.ray.assignments import Assignments
from revo_ray.search.ray.internals import (
    forget_trial,
    keep_workers,
    no_credentials_sent,
    release_workers,
)
from revo_ray.search.ray.resources import TrialResources
from revo_ray.search.ray.stopping import stop_if_asked
from revo_ray.search.ray.trial import EvaluationTrial

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger is the log
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interruption ends the run at once; rows are on disk
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # resuming reads the ledger, not Tune's state
    "TUNE_MAX_PENDING_TRIALS_PG": "1024",  # `Assignments.slots` is the limit
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_COLOR_PREFIX": "0",  # what Ray prints of a lost worker goes to log files too
}


class Proposer(Searcher):
    """Tune's searcher: proposals of all searches, in turn."""

    def __init__(self, assignments: Assignments) -> None:
        super().__init__()
        self._assignments = assignments

    def suggest(self, trial_id: str) -> Any:
        """The next evaluation; None at every search's barrier; FINISHED when all rows stand."""
        if self._assignments.failure is not None:  # Tune swallows what `on_trial_complete` raises
            raise self._assignments.failure
        with self._assignments.keeping_failure():
            config = None if self._assignments.done else self._assignments.assign(trial_id)
            # `assign` may have answered the last rows from the ledger.
            return Searcher.FINISHED if config is None and self._assignments.done else config

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the search that the row is written. `collect_ended` takes back lost trials."""
        work = self._assignments.live.get(trial_id)
        if work is None:
            return
        if work.proposal is None:
            if work.reported is not None:
                del self._assignments.live[trial_id]
        elif work.proposal.evaluation in work.state.ledger:
            with self._assignments.keeping_failure(work.state):
                work.state.tell(work.proposal.evaluation)
            del self._assignments.live[trial_id]

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the state is the seed and the ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resumed run replays the ledger."""


class Scheduler(FIFOScheduler):
    """Tune's scheduler: asks each search's own one, and keeps workers warm at a barrier.

    An evaluation that ran out of memory gets a trial with more resources than the others. Tune's
    idle workers serve trials of the same resources only, so it gets a worker of its own.
    """

    def __init__(self, assignments: Assignments, needs: TrialResources) -> None:
        super().__init__()
        self._assignments, self._needs, self._kept = assignments, needs, 0
        self.controller: Any = None
        """Tune's controller, once there is a trial."""
        self._ending: list[Trial] = []

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Choose the first trial that has not begun, and let Tune forget those that have ended."""
        for trial in [trial for trial in self._ending if trial.is_finished()]:
            self._ending.remove(trial)
            forget_trial(tune_controller, trial)
        for trial in self._assignments.crowded_out():
            tune_controller.stop_trial(trial)
            # Tune goes on to count it among those that will use an idle worker.
            keep_workers(tune_controller, trial.placement_group_factory, -1)
        self._keep_workers(tune_controller)
        live = tune_controller.get_live_trials()
        return next((trial for trial in live if trial.status == Trial.PENDING), None)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Note the trial of an evaluation; one that is made alone gets its resources here."""
        self.controller = tune_controller
        work = self._assignments.live.get(trial.trial_id)
        if work is not None:
            work.trial = trial
            if (memory := work.request.config.get("alone")) is not None:
                alone = self._needs.alone(memory)
                work.alone = alone != self._needs
                trial.update_resources(alone.request)
            if work.state.early_stopping is not None and work.proposal is not None:
                work.state.early_stopping.add(work.proposal.evaluation, trial, tune_controller)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Note that a trial is about to end.

        One that took all the epochs that the budget had left is judged after the last of them: its
        row is like that of a stopped one, and a resumed search enters both in the same way.
        """
        self._ending.append(trial)
        work = self._assignments.live.get(trial.trial_id)
        if work is None or result.get("whole") is not False:
            return
        if result["epoch"] == work.request.config["epochs"]:
            self.on_trial_result(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Note that a trial is about to end."""
        self._ending.append(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Ask the search's own scheduler whether an evaluation goes on."""
        work = self._assignments.live.get(trial.trial_id)
        if work is None or work.proposal is None or work.state.early_stopping is None:
            return TrialScheduler.CONTINUE
        with self._assignments.keeping_failure():
            evaluation, value = work.proposal.evaluation, result[work.state.objective.column]
            return work.state.early_stopping.result(
                evaluation, trial, result["epoch"], value, tune_controller
            )

    def _keep_workers(self, tune_controller: Any) -> None:
        """Tune keeps as many idle workers as trials are staged; at a barrier that would be one."""
        making_room = self._assignments.making_room
        wanted = 0 if making_room else max(self._kept, self._assignments.slots)
        if wanted != self._kept:
            keep_workers(tune_controller, self._needs.request, wanted - self._kept)
            self._kept = wanted


class Recorder(tune.Callback):
    """Tune's callback: writes each row when its trial's last result arrives."""

    def __init__(self, assignments: Assignments, tick: Callable[[int, int], None]) -> None:
        self._assignments, self._tick = assignments, tick

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Take back the work of lost trials; kill workers whose work is late, or given up."""
        stop_if_asked()
        with self._assignments.keeping_failure():
            self._assignments.collect_ended()
        for worker in (*self._assignments.overdue(), *self._assignments.given_up()):
            ray.kill(worker)
        self._tick(self._assignments.busy, self._assignments.slots)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Write the row, before the searcher learns of the result."""
        work = self._assignments.live.get(trial.trial_id)
        if work is None or not ("row" in result or "made" in result):
            return
        work.reported = result
        self._assignments.heard_from(work)
        with self._assignments.keeping_failure(work.state):
            if work.proposal is None:
                work.state.forms.answered(work.request.config, result)
            elif result.get("done"):
                work.state.record(work.proposal, result, trial.trial_id)


class NoProgress(TrialProgressCallback):
    """Stands in for Tune's own, which would keep every trial, and has nothing to print here."""

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        """Nothing."""

    def on_trial_error(self, *args: Any, **info: Any) -> None:
        """Nothing."""

    def on_trial_complete(self, *args: Any, **info: Any) -> None:
        """Nothing."""


def run_experiment(
    states: Sequence[SearchState],
    needs: TrialResources,
    max_concurrent: int | None,
    finish: Callable[[SearchState], None],
    *,
    ray_stays: bool = False,
    tick: Callable[[int, int], None] = lambda busy, slots: None,
    trial: type[tune.Trainable] = EvaluationTrial,
) -> None:
    """Run searches until they end, and test the forms of their results. Ray must be connected.

    Args:
        states: searches that are not done.
        needs: CPUs and GPUs of an evaluation.
        max_concurrent: most evaluations at once; None: as many as the cluster holds.
        finish: called with each search that is done.
        ray_stays: the caller goes on with this Ray, so an interrupted run gives its workers back.
        tick: called many times a second with the number of trials that run, and that may run.
        trial: the trainable of the workers; it answers the requests of `SearchState`.

    Raises:
        SearchError, OSError: it stopped; every search can be resumed.
    """
    generations = sum(s.config.search.population + s.config.search.lookahead for s in states)

    def slots() -> int:
        return min(needs.slots(wanted=generations), max_concurrent or sys.maxsize)

    assignments = Assignments(states, slots, finish)
    scheduler = Scheduler(assignments, needs)
    try:
        with (
            _environment(),
            no_credentials_sent(),
            tempfile.TemporaryDirectory(prefix="revo-", ignore_cleanup_errors=True) as scratch,
        ):
            tune.run(
                trial,
                name="tune",
                search_alg=Proposer(assignments),
                scheduler=scheduler,
                callbacks=[Recorder(assignments, tick), NoProgress()],
                num_samples=-1,
                resources_per_trial=needs.request,
                reuse_actors=True,
                storage_path=scratch,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
                raise_on_failed_trial=False,
                verbose=0,
            )
    except Exception as error:
        if assignments.failure is not None:
            raise assignments.failure from None
        raise SearchError(f"Ray Tune stopped: {last_line(error)}; go on with --resume") from error
    except KeyboardInterrupt:
        if ray_stays and scheduler.controller is not None:
            release_workers(scheduler.controller)  # Tune forgets to when it is interrupted
        raise
    if failed := assignments.set_aside:
        raise SearchError("; ".join(f"{name}: {error}" for name, error in failed.items()))
    if not assignments.done:
        raise SearchError("Ray Tune ended before the search did; go on with --resume")


@contextmanager
def _environment() -> Iterator[None]:
    """Set `ENVIRONMENT`, the only way to configure Tune and Ray, and restore it afterwards."""
    before = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name in ENVIRONMENT:
            os.environ.pop(name, None)
        os.environ.update(before)
