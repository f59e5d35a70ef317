"""The state of one search: the next request for a worker, and its result in the ledger."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from revo_ray.errors import SearchError, UserError
from revo_ray.evolve.proposals import Outcome, Proposal, ReplayError
from revo_ray.finetune.plan import Plan
from revo_ray.methods import Method, UnitLike
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.rundir.warm_start import WarmStart
from revo_ray.search.core.best_few import BestFew
from revo_ray.search.core.budget import EpochBudget
from revo_ray.search.core.consecutive_errors import remove_errors, stop_after_errors
from revo_ray.search.core.early_stopping import EarlyStopping
from revo_ray.search.core.final_forms import FinalForms
from revo_ray.search.core.requests import Request
from revo_ray.search.core.retries import Retries, made_again, too_little
from revo_ray.search.core.winners import first_space
from revo_ray.settings.schema import SearchConfig

_log = logging.getLogger(__name__)


class SearchState:
    """Takes requests from the proposals and writes results to the ledger, without Ray.

    The order of writing is a contract: the worker writes the predictions of an evaluation, then its
    weights if they may be kept, then its row is written, then weights that fell out of the best few
    are deleted, then the proposals are told. Every exception from here stops the run, which can
    then be resumed.

    Args:
        config: the search.
        run: its run directory.
        method: the configured method.
        units: the network's units, input to output.
        task: plain values that a worker needs besides the plan.
        card: description with which the best model can be loaded.
        listeners: called with each new row.
        early_stopping: stops evaluations early, if the method wants that.
        guard: called before and after each row is written; raises if another driver has taken the
            run directory over.
        warm_start: winners of earlier searches to begin with.
        splits: number of images in each split.

    Raises:
        UserError: the ledger in the run directory is not this search's.
    """

    def __init__(
        self,
        config: SearchConfig,
        run: RunDirectory,
        method: Method,
        units: list[UnitLike],
        task: dict[str, Any],
        card: dict[str, Any],
        listeners: tuple[Callable[[Evaluation], None], ...] = (),
        early_stopping: EarlyStopping | None = None,
        guard: Callable[[], None] = lambda: None,
        warm_start: WarmStart | None = None,
        splits: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.config = config
        self.run = run
        self.method = method
        self.units = units
        self.task = task
        self.cold_starts = 0
        self.began = time.monotonic()
        self.splits = dict(splits)
        self._retries = Retries()
        self.listeners = list(listeners)
        """Called with each new row."""
        self.followers: list[Callable[[], None]] = []
        """Called when the proposals have learned of a row."""
        self.proposals = method.searcher(first_space(method, units, warm_start), config.search)
        self.early_stopping = early_stopping
        self._budget: EpochBudget | None = None
        if early_stopping is not None and config.search.budget == "epochs":
            self.proposals.unbound()
            self._budget = EpochBudget(config.search.evaluations, config.train.epochs)
        self._running: set[int] = set()
        """Evaluations that a worker makes."""
        self.stopped = False
        """Whether it was stopped before its budget was spent."""
        self._guard = guard
        self.objective = config.search.metric
        run.delete_leftovers()
        self.ledger = run.ledger(self.objective)
        self.few = BestFew(run, self.objective, config.search.keep, card, self.is_swept)
        self.forms = FinalForms(run, self.ledger, self.few, card, config.search.result)
        self._resume()

    def _resume(self) -> None:
        """Bring proposals, early stopping, budget and best model to where the ledger stands."""
        self.ledger.set_torn_aside()
        remove_errors(self.ledger, self.proposals)
        try:
            self.proposals.replay(
                {row.evaluation: (row.sample, self._outcome(row)) for row in self.ledger}
            )
        except ReplayError as error:
            raise UserError(self._cannot_resume(error)) from None
        if self.early_stopping is not None:
            self.early_stopping.rebuild(self.ledger)
        for row in self.ledger:
            self._spend(row.evaluation, row.epochs)
        self.few.begin(self.ledger)
        self.run.delete_forms_of_others([row.evaluation for row in self.ledger])
        self.delete_unrecorded()

    def delete_unrecorded(self) -> None:
        """Delete predictions and weights that follow from no row; no evaluation may run."""
        self.few.tidy()
        stored = [row.evaluation for row in self.ledger if row.predictions and row.source is None]
        self.run.predictions.delete_others(stored)

    def is_swept(self, generation: int | None) -> bool:
        """Whether the evaluations of a generation have one rate for all layers."""
        return generation == 0 and self.config.has_sweep

    @property
    def budget_unit(self) -> Literal["evaluations", "epochs"]:
        """The unit in which the budget is counted."""
        return "epochs" if self._budget else "evaluations"

    @property
    def budget(self) -> int:
        """The budget, in `budget_unit`."""
        evaluations = self.config.search.evaluations
        return evaluations * self.config.train.epochs if self._budget else evaluations

    @property
    def spent(self) -> bool:
        """Whether the whole budget is spent."""
        return self._budget.spent if self._budget else self.proposals.finished

    @property
    def ended(self) -> bool:
        """Whether the budget is spent, or the search was stopped and no evaluation runs."""
        return self.spent or (self.stopped and not self._running)

    @property
    def done(self) -> bool:
        """Whether the search has ended and the forms of its result, if there is one, are tested."""
        return self.ended and (self.best is None or self.forms.done)

    def stop(self) -> None:
        """Begin no further evaluation; the search ends when those that run are given up."""
        self.stopped = True

    @property
    def best(self) -> Evaluation | None:
        """The best row so far that has weights of its own."""
        return self.ledger.best

    def next_request(self) -> Request | None:
        """The next work for a worker; None at the barrier and at the end."""
        request = None if self.stopped else self._next_evaluation()
        if request is not None or not self.ended or self.best is None:
            return request
        work = self.forms.next_work()
        return None if work is None else Request(None, {"task": self.task, **work})

    def _next_evaluation(self) -> Request | None:
        while self._budget is None or self._budget.left > 0:
            proposal = self.proposals.ask()
            answered = self.proposals.take_answered()
            for duplicate in answered:
                self._answer(duplicate)
            if proposal is not None:
                return self._request(proposal)
            if not answered:
                return None
        return None

    def record(self, proposal: Proposal, measured: dict[str, Any], trial_id: str) -> None:
        """Write the row of a finished evaluation, then keep its weights, or delete them.

        There is no row yet of an evaluation that ran out of memory for the first time.

        Raises:
            OSError: the storage is full or unreachable.
            SearchError: a worker could not write, or too many errors in a row.
        """
        if proposal.evaluation in self.ledger:
            return
        if measured.get("storage_error"):
            raise SearchError(
                f"a worker could not write predictions or weights: {measured['storage_error']}; "
                "mend that and go on with --resume"
            )
        self.cold_starts += bool(measured["cold"])
        row_so_far = dict(measured["row"])
        if (memory := measured.get("exhausted")) is not None:
            if self._retries.exhausted(proposal.evaluation, memory):
                _log.warning(
                    "evaluation %d %s", proposal.evaluation, made_again(memory, self.config)
                )
                return
            alone = self._retries.alone(proposal.evaluation) == memory
            row_so_far["error"] = too_little(memory, alone, self.config, row_so_far["error"])
        stopped = {} if measured["whole"] else {"status": "stopped"}
        row = self._row(
            proposal,
            trial_id=trial_id,
            attempts=1 + self._retries.trials(proposal.evaluation),
            **row_so_far | stopped,
        )
        row = self._append(row)
        self.few.add(row, bool(measured.get("weights")))
        stop_after_errors(self.ledger, row.evaluation)

    def tell(self, evaluation: int) -> None:
        """Tell the proposals the outcome that the ledger holds of an evaluation.

        Raises:
            SearchError: this row was missing, and those behind it are not what follows from it.
        """
        try:
            self.proposals.tell(evaluation, self._outcome(self.ledger[evaluation]))
        except ReplayError as error:
            raise SearchError(self._cannot_resume(error)) from None
        self._running.discard(evaluation)
        for follower in self.followers:
            follower()

    def _cannot_resume(self, error: ReplayError) -> str:
        name, evaluations = self.method.name, self.config.search.evaluations
        if self.run.exists and self.run.config().config.search.evaluations != evaluations:
            return (
                f"search.evaluations cannot grow in {self.run.uri}: proposals of {name} depend on "
                f"it ({error}); set it back, or choose another name"
            )
        return (
            f"cannot resume {self.run.uri}: {error}; the ledger was edited, or comes from "
            "another version; restore it, or choose another name"
        )

    def lost(self, proposal: Proposal, cause: str) -> None:
        """A worker died or hung: propose its evaluation again, or give up.

        Raises:
            OSError: the storage is full or unreachable.
            SearchError: too many errors in a row.
        """
        self.run.models.delete(proposal.evaluation)  # it may have died after writing its weights
        if self.stopped or self._retries.lost(proposal.evaluation, cause):
            self.returned(proposal)
            return
        self._spend(proposal.evaluation, 0)
        now = time.time()
        row = self._row(
            proposal,
            status="error",
            error=self._retries.error(proposal.evaluation),
            attempts=self._retries.trials(proposal.evaluation),
            started_at=now,
            finished_at=now,
        )
        row = self._append(row)
        stop_after_errors(self.ledger, row.evaluation)
        self.tell(row.evaluation)

    def crowded_out(self, proposal: Proposal) -> None:
        """No device or machine becomes free for an evaluation alone: let it share one."""
        self._retries.shares(proposal.evaluation)

    def returned(self, proposal: Proposal) -> None:
        """A trial ended before it ran, or out of memory: propose its evaluation again."""
        self._spend(proposal.evaluation, 0)
        self._running.discard(proposal.evaluation)
        self.proposals.requeue(proposal.evaluation)

    def _request(self, proposal: Proposal) -> Request:
        plan = self._plan(proposal)
        self._running.add(proposal.evaluation)
        epochs = self.config.train.epochs
        if self._budget is not None:
            epochs = self._budget.reserve(proposal.evaluation)
        config = {
            "task": self.task,
            "evaluation": proposal.evaluation,
            "plan": plan.to_json(),
            "epochs": epochs,
            "stepwise": self.early_stopping is not None,
            "objective": self.objective.name,
            "predictions": self.config.search.predictions,
            "limit": self.few.limit(proposal.generation),
            "alone": self._retries.alone(proposal.evaluation),
        }
        return Request(proposal, config)

    def _spend(self, evaluation: int, epochs: int) -> None:
        if self._budget is not None:
            self._budget.spend(evaluation, epochs)

    def _answer(self, proposal: Proposal) -> None:
        """Write the row of a sample that was evaluated before."""
        assert proposal.source is not None
        source = self.ledger[proposal.source]
        now = time.time()
        row = self._row(
            proposal,
            status="cached",
            source=source.evaluation,
            predictions=source.predictions,
            error=source.error,
            curve=source.curve,
            started_at=now,
            finished_at=now,
            **source.scores.columns,
        )
        self._append(row)
        self.tell(row.evaluation)

    def _row(self, proposal: Proposal, **values: Any) -> Evaluation:
        plan = self._plan(proposal).to_json()
        rates = plan.pop("unit_lrs")
        return Evaluation(
            evaluation=proposal.evaluation,
            generation=proposal.generation,
            sample=proposal.sample,
            genome=self.method.genome(proposal.sample),
            plan=plan,
            unit_lrs=rates,
            **values,
        )

    def _plan(self, proposal: Proposal) -> Plan:
        try:
            return self.method.plan(proposal.sample, self.units)
        except ValueError as error:
            raise UserError(f"{self.method.name} makes no valid plan: {error}") from None

    def _append(self, row: Evaluation) -> Evaluation:
        """Write a row, and return the one that stands, which may be an earlier driver's."""
        self._guard()
        stands = self.ledger.append(row)
        self._guard()  # this process may have been suspended while it wrote
        if stands is not row:
            try:
                self.proposals.check(row.evaluation, stands.sample)
            except ReplayError as error:
                raise SearchError(self._cannot_resume(error)) from None
        self._spend(row.evaluation, stands.epochs)
        for listener in self.listeners:
            listener(stands)
        return stands

    def _outcome(self, row: Evaluation) -> Outcome:
        """The outcome of a row for the proposals.

        An evaluation that was stopped early counts with its last scores. Equal samples are answered
        from the row that was trained, not from one that was answered itself, and not from an error,
        which may not happen again.
        """
        counts = row.status == "stopped" or self.objective.counts(row)
        value = self.objective.cost(row.scores) if counts else None
        return Outcome(value, reusable=row.status not in ("error", "cached"))
