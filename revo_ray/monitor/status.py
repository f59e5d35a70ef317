"""Status of a search, from its rows: counts, the best plan in one line, the time left."""

from __future__ import annotations

from typing import Literal

from revo_ray.monitor.pace import Pace
from revo_ray.objective import METRICS
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.working_time import WorkingTime
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import duration, plan_text


class SearchStatus:
    """Summary of the rows that one search has.

    Args:
        config: the search's configuration.
        unit: the unit of its budget.
        head: index of the new classifier among the network's units.
    """

    def __init__(
        self,
        config: SearchConfig,
        unit: Literal["evaluations", "epochs"] = "evaluations",
        head: int = -1,
    ) -> None:
        self.unit = unit
        self.objective = config.search.metric
        evaluations = config.search.evaluations
        self._budgets = {"evaluations": evaluations, "epochs": evaluations * config.train.epochs}
        self._population = config.search.population
        self._sweeps = config.has_sweep
        self._head = head
        self.rows = 0
        self.best: Evaluation | None = None
        self.clock = WorkingTime()
        self.ended = 0.0
        """Time at which the last row ended, in seconds since 1970."""
        self._pace = Pace(max(20, 3 * self._population))
        self._epochs = 0
        self._counts = dict.fromkeys(("failed", "stopped early", "answered from the ledger"), 0)
        self._ahead: set[int] = set()
        """Evaluations that have a row, although one before them has none."""
        self._next = 0
        """The first evaluation that has no row."""
        self._generations = False

    @property
    def total(self) -> int:
        """The budget, in `unit`."""
        return self._budgets[self.unit]

    @property
    def done(self) -> int:
        """The part of the budget that is spent."""
        return self.rows if self.unit == "evaluations" else self._epochs

    @property
    def left(self) -> int:
        """The part of the budget that is not spent."""
        return max(0, self.total - self.done)

    def add(self, row: Evaluation) -> float:
        """Count a row, in the order in which rows end; returns the working time that it adds."""
        self.rows += 1
        self._epochs += row.epochs
        self._counts["failed"] += not (self.objective.counts(row) or row.status == "stopped")
        self._counts["stopped early"] += row.status == "stopped"
        self._counts["answered from the ledger"] += row.status == "cached"
        self._generations = self._generations or row.generation is not None
        self._ahead.add(row.evaluation)
        while self._next in self._ahead:
            self._ahead.remove(self._next)
            self._next += 1
        seconds = self.clock.add(row)
        self.ended = max(self.ended, row.finished_at)
        self._pace.add(seconds, 1 if self.unit == "evaluations" else row.epochs)
        if self.objective.is_better(row, self.best):
            self.best = row
        return seconds

    @property
    def is_measured(self) -> bool:
        """Whether the first generation has ended, so that the time left can be estimated."""
        return self._next >= self._population

    @property
    def so_far_text(self) -> str:
        """The working time so far, `4m 10s so far`; empty without rows."""
        return f"{duration(self.clock.seconds)} so far" if self.rows else ""

    @property
    def time_text(self) -> str:
        """The working time so far, `in 4m 10s`; empty without rows."""
        return f"in {duration(self.clock.seconds)}" if self.rows else ""

    @property
    def amount_text(self) -> str:
        """The part of the budget that is spent, `37/100 evaluations`."""
        return f"{self.done}/{self.total} {self.unit}"

    @property
    def generation_text(self) -> str:
        """The generation that is worked on, counted from 1; empty without generations."""
        if not self._generations or not self.left:
            return ""
        number = self._next // self._population + 1
        of = "" if self.unit == "epochs" else f" of {-(-self.total // self._population)}"
        return f"generation {number}{of}" + (" (sweep)" if number == 1 and self._sweeps else "")

    @property
    def best_text(self) -> str:
        """The best evaluation so far, and its plan: the objective and one other metric."""
        if self.best is None:
            return "no result yet"
        scores = self.best.scores
        other = next(metric for metric in METRICS.values() if metric is not self.objective)
        beside = f", {other.text(scores)}" if other.value(scores) is not None else ""
        decay = self.best.weight_decay or 0.0
        plan = plan_text(self.best.unit_lrs, self._head, decay, self.best.recipe)
        return (
            f"best validation {self.objective.text(scores)}{beside} "
            f"(#{self.best.evaluation}{plan and ': '}{plan})"
        )

    @property
    def counts_text(self) -> str:
        """Numbers of unusual evaluations, `2 failed, 31 stopped early`; often empty."""
        return ", ".join(f"{count} {what}" for what, count in self._counts.items() if count)

    def left_text(self, now: float | None = None) -> str:
        """The time left, or the work that follows the last row; empty if nothing is known.

        Args:
            now: seconds since 1970; None for the time of the last row.
        """
        if not self.left:
            return "testing the result" if self.best else "done"
        if not self.is_measured:
            return self._unmeasured
        found = self._pace.left(self.left, max(0.0, (now or self.ended) - self.ended))
        return "" if found is None else found.text

    @property
    def _unmeasured(self) -> str:
        if self._budgets["evaluations"] <= self._population:
            return ""
        if self.rows and not self._generations:
            return f"time left known after {self._population} evaluations"
        return "time left known after generation 1"
