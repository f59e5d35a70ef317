"""One search as its driver sees it: what to run next, and what becomes of the results."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from revo_ray.errors import SearchError, UserError
from revo_ray.evolve.proposals import Outcome, Proposal, ReplayError
from revo_ray.finetune.plan import Plan
from revo_ray.methods import Method
from revo_ray.methods import UnitLike
from revo_ray.rundir.best_model import MODEL, BestModel
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.ledger import Ledger
from revo_ray.search.core.budget import EpochBudget
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage

if TYPE_CHECKING:
    from revo_ray.search.ray.halving import Halving

MAX_DEATHS = 3
"""Trials that one genome may lose with their workers before its row says error."""
MAX_ERRORS = 3
"""Errors in a row, in proposal order, that stop the search."""


@dataclass(frozen=True)
class Request:
    """What a worker is asked to do.

    Attributes:
        proposal: which evaluation, and its sample; None to test the best model.
        config: for the trial; plain values.
    """

    proposal: Proposal | None
    config: dict[str, Any]


class SearchState:
    """Proposals on one side, ledger on the other; Ray-free, so a test can drive it by hand.

    The order of writing is the contract: a record-breaking evaluation's weights (by the worker),
    then its row, then the old best goes; only then is the searcher told. Every exception from
    here is meant to stop the run, which can then be resumed.

    Args:
        config: the search.
        run: its run directory.
        method: the configured method.
        units: the network's units, input to output.
        task: what a worker needs besides the plan; plain values.
        card: what is needed to load the best model.
        listeners: called with each new row.
        halving: what stops evaluations early, if anything does.
        guard: raises before each row where another driver has taken the run directory over.

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
        halving: Halving | None = None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self.run = run
        self.method = method
        self.units = units
        self.task = task
        self.cold_starts = 0
        self.began = time.monotonic()
        self.test: dict[str, float | None] | None = None
        """Loss, accuracy and AUC of the best model on the test images, as soon as it is tested."""
        self._testing = False
        self._test_deaths = 0
        self.listeners = list(listeners)
        """Called with each new row."""
        self.followers: list[Callable[[], None]] = []
        """Called when the proposals have learned of a row."""
        self._deaths: dict[int, list[str]] = {}
        self.proposals = method.searcher(method.space(units), config.search)
        self.halving = halving
        self._budget: EpochBudget | None = None
        if halving is not None and config.search.budget == "epochs":
            self.proposals.unbound()
            self._budget = EpochBudget(config.search.evaluations, config.train.epochs)
        self._guard = guard
        run.sweep()
        self.objective = config.search.metric
        self.ledger = run.ledger(self.objective)
        self.ledger.set_torn_aside()
        self._drop_errors_that_stopped()
        try:
            self.proposals.replay(
                {row.evaluation: (row.sample, self._outcome(row)) for row in self.ledger}
            )
        except ReplayError as error:
            raise UserError(self._cannot_resume(error)) from None
        if self.halving is not None:
            self.halving.rebuild(self.ledger)
        if self._budget is not None:
            for row in self.ledger:
                self._budget.spend(row.evaluation, row.epochs)
        self._card = card
        run.best.repair(self.ledger.best, card)

    @property
    def budget_unit(self) -> Literal["evaluations", "epochs"]:
        """What the budget is counted in."""
        return "epochs" if self._budget else "evaluations"

    @property
    def budget(self) -> int:
        """How many of them there are."""
        evaluations = self.config.search.evaluations
        return evaluations * self.config.train.epochs if self._budget else evaluations

    @property
    def spent(self) -> bool:
        """Whether the whole budget is spent."""
        return self._budget.spent if self._budget else self.proposals.finished

    @property
    def done(self) -> bool:
        """Whether the budget is spent and the best model, if there is one, is tested."""
        return self.spent and (self.best is None or self.test is not None)

    @property
    def best(self) -> Evaluation | None:
        """The best row so far that has weights of its own."""
        return self.ledger.best

    @property
    def best_is_stored(self) -> bool:
        """Whether `best/` holds the best row's weights, or there is no best row."""
        return self.best is None or self.run.best.holds(self.best.evaluation)

    def next_request(self) -> Request | None:
        """What a worker is to do next; None at the barrier and at the end."""
        request = self._next_evaluation()
        return self._test_request() if request is None and self.spent else request

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
        """Write the row of a finished evaluation, then settle whose weights are the best.

        Raises:
            OSError: the storage is full or unreachable.
            SearchError: a worker could not write, or too many errors in a row.
        """
        if proposal.evaluation in self.ledger:
            return
        if measured.get("storage_error"):
            raise SearchError(
                f"a worker could not write weights: {measured['storage_error']}; mend that and "
                "go on with --resume"
            )
        self.cold_starts += bool(measured["cold"])
        before = self.best
        stopped = {} if measured["whole"] else {"status": "stopped"}
        row = self._row(
            proposal,
            trial_id=trial_id,
            attempts=1 + len(self._deaths.get(proposal.evaluation, ())),
            **measured["row"] | stopped,
        )
        self._append(row)
        if self.objective.is_better(row, before):
            self.run.best.accept(row, self._card)
        elif measured.get("weights"):
            self.run.best.reject(row.evaluation)
        self._check_errors(row.evaluation)

    def settle(self, evaluation: int) -> None:
        """Tell the proposals what the ledger holds of an evaluation.

        Raises:
            SearchError: this row was missing, and those behind it are not what follows from it.
        """
        try:
            self.proposals.tell(evaluation, self._outcome(self.ledger[evaluation]))
        except ReplayError as error:
            raise SearchError(self._cannot_resume(error)) from None
        for follower in self.followers:
            follower()

    def _cannot_resume(self, error: ReplayError) -> str:
        return (
            f"cannot resume {self.run.uri}: {error}; the ledger was edited, or comes from "
            "another version; restore it, or choose another name"
        )

    def lost(self, proposal: Proposal, cause: str) -> None:
        """A worker died, hung or ran out of memory: propose its evaluation again, or give up.

        Raises:
            OSError: the storage is full or unreachable.
            SearchError: too many errors in a row.
        """
        self.run.best.reject(proposal.evaluation)  # it may have died after writing its weights
        self._release(proposal)
        deaths = self._deaths.setdefault(proposal.evaluation, [])
        deaths.append(cause)
        if len(deaths) < MAX_DEATHS:
            self.proposals.requeue(proposal.evaluation)
            return
        now = time.time()
        error = f"lost {len(deaths)} times: {cause}"
        row = self._row(
            proposal,
            status="error",
            error=error,
            attempts=len(deaths),
            started_at=now,
            finished_at=now,
        )
        self._append(row)
        self._check_errors(row.evaluation)
        self.settle(row.evaluation)

    def returned(self, proposal: Proposal) -> None:
        """A trial ended before it ran: propose its evaluation again."""
        self._release(proposal)
        self.proposals.requeue(proposal.evaluation)

    def tested(self, measured: dict[str, Any]) -> None:
        """Take the best model's score on the test images.

        Raises:
            SearchError: it could not be had.
        """
        if measured["test"] is None:
            raise SearchError(
                f"cannot test the best model: {measured['error']}; "
                "every evaluation is kept, go on with --resume"
            )
        assert self.best is not None
        self.run.best.accept(self.best, self._card)  # what is needed to load it may have gone with it
        self.test = measured["test"]

    def tidy(self) -> None:
        """Delete what workers of a driver that was killed wrote after this one had begun.

        Raises:
            OSError: the storage is unreachable.
        """
        self.run.best.delete_candidates()

    def test_lost(self, cause: str | None) -> None:
        """A worker died with the test of the best model, or never began it: test it again.

        Raises:
            SearchError: too many workers died.
        """
        self._testing = False
        self._test_deaths += cause is not None
        if self._test_deaths >= MAX_DEATHS:
            self.tested({"test": None, "error": cause})

    def _test_request(self) -> Request | None:
        if self.best is None or self.test is not None or self._testing:
            return None
        self._testing = True
        retrain = None if self.best_is_stored else self.best.whole_plan
        config = {"task": self.task, "test": self.best.evaluation, "retrain": retrain}
        return Request(None, config)

    def _request(self, proposal: Proposal) -> Request:
        best = self.best
        plan = self._plan(proposal)
        epochs = self.config.train.epochs
        if self._budget is not None:
            epochs = self._budget.reserve(proposal.evaluation)
        return Request(
            proposal,
            {
                "task": self.task,
                "evaluation": proposal.evaluation,
                "plan": plan.to_json(),
                "epochs": epochs,
                "stepwise": self.halving is not None,
                "objective": self.objective.name,
                "best": list(self.objective.rank_of(best)) if best else None,
            },
        )

    def _release(self, proposal: Proposal) -> None:
        if self._budget is not None:
            self._budget.spend(proposal.evaluation, 0)

    def _answer(self, proposal: Proposal) -> None:
        """Write the row of a sample that was evaluated before."""
        assert proposal.source is not None
        source = self.ledger[proposal.source]
        now = time.time()
        row = self._row(
            proposal,
            status="cached",
            source=source.evaluation,
            error=source.error,
            curve=source.curve,
            started_at=now,
            finished_at=now,
            **source.scores.columns,
        )
        self._append(row)
        self.settle(row.evaluation)

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

    def _append(self, row: Evaluation) -> None:
        self._guard()
        self.ledger.append(row)
        if self._budget is not None:
            self._budget.spend(row.evaluation, row.epochs)
        for listener in self.listeners:
            listener(row)

    def _check_errors(self, evaluation: int) -> None:
        run = self.ledger.errors_around(evaluation)
        if len(run) >= MAX_ERRORS:
            raise SearchError(
                f"evaluations {run[0]} to {run[-1]} all failed, the last one with: "
                f"{self.ledger[run[-1]].error}. Mend that and go on with --resume, which makes "
                "them again (with other settings: under another name)"
            )

    def _drop_errors_that_stopped(self) -> None:
        """Take back the errors in a row that stopped the search, and what was bred from them."""
        doomed: set[int] = set()
        for row in self.ledger:
            run = self.ledger.errors_around(row.evaluation)
            if len(run) >= MAX_ERRORS:
                bred = self.proposals.first_dependent(run[0])
                doomed |= set(run)
                if bred is not None:
                    doomed |= {
                        later.evaluation for later in self.ledger if later.evaluation >= bred
                    }
                break
        self.ledger.remove(doomed)

    def _outcome(self, row: Evaluation) -> Outcome:
        """The outcome of a row for the proposals.

        An evaluation that was stopped early counts with its last scores. Equal samples are answered
        from the row that was trained, not from one that was answered itself, and not from an error,
        which may not happen again.
        """
        counts = row.status == "stopped" or self.objective.counts(row)
        value = self.objective.cost(row.scores) if counts else None
        return Outcome(value, reusable=row.status not in ("error", "cached"))
