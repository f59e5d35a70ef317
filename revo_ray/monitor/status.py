"""Status of a search, from its rows: counts, the best plan in one line, the time left."""

from __future__ import annotations

import statistics
from collections import deque
from itertools import pairwise
from typing import Literal

from revo_ray.objective import METRICS
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import duration, plan_text

BREAK_SECONDS = 60.0
"""A longer gap between rows was an interruption, if it is also far longer than most gaps."""


class Pace:
    """Measures how fast a budget is spent, from the last rows.

    Evaluations that were stopped early, or answered from the ledger, count with the time that they
    took. So the estimate holds for the usual mixture of whole and quick evaluations.

    Args:
        window: number of last rows that count; two generations, to include the waits between them.
    """

    def __init__(self, window: int = 20) -> None:
        self._rows: deque[tuple[float, float]] = deque(maxlen=max(window, 20) + 1)

    def add(self, at: float, cost: float) -> None:
        """Note the time of a row, later than the last one, and its part of the budget."""
        self._rows.append((at, cost))

    def seconds_left(self, budget: float, now: float | None = None) -> float | None:
        """Estimate the seconds that the rest of the budget takes; None if there are too few rows.

        Args:
            budget: the part of the budget that is left.
            now: the time, by the clock of `add`; None for the time of the last row.
        """
        rows = sorted(self._rows)
        gaps = [later[0] - earlier[0] for earlier, later in pairwise(rows)]
        spent = sum(cost for _, cost in rows[1:])
        if spent <= 0:
            return None
        usual = statistics.median([gap for gap in gaps if gap > 0] or [0.0])
        times = [usual if gap > max(20 * usual, BREAK_SECONDS) else gap for gap in gaps]
        each = sum(times) / spent
        since = 0.0 if now is None else max(0.0, now - rows[-1][0])
        # If the next row is late, the rows after it still take their whole time.
        return max(0.0, each * budget - min(since, each))


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
        self.pace = Pace(2 * self._population)
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

    def add(self, row: Evaluation, at: float | None = None) -> bool:
        """Count a row.

        Args:
            row: the row.
            at: the time at which it came; None leaves it out of the pace.

        Returns:
            Whether it is the best so far.
        """
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
        if at is not None:
            self.pace.add(at, 1 if self.unit == "evaluations" else row.epochs)
        improved = self.objective.is_better(row, self.best)
        if improved:
            self.best = row
        return improved

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
        """The time left, or the work that follows the last row.

        Args:
            now: the time, by the clock of `add`; None for the time of the last row.
        """
        if not self.left:
            return "testing the result" if self.best else "done"
        seconds = self.pace.seconds_left(self.left, now)
        return "time left not known yet" if seconds is None else f"{duration(seconds)} left"
