"""Where a search stands, from its rows: counts, the best plan in one line, the time left."""

from __future__ import annotations

import statistics
from collections import deque
from itertools import pairwise
from typing import Literal

from revo_ray.rundir.evaluation import Evaluation
from revo_ray.words import duration, plan_text

BREAK_SECONDS = 60.0
"""A gap between rows that is longer, and far longer than most, was an interruption."""


class Pace:
    """How fast a budget is spent, from the last rows: they cost what the next ones will.

    Evaluations that were stopped early, or answered from the ledger, count with the time that they
    took, so what is left is neither the time of whole evaluations nor of a few quick ones.

    Args:
        window: rows to look back on; two generations, so that waiting at their end counts.
    """

    def __init__(self, window: int = 20) -> None:
        self._rows: deque[tuple[float, float]] = deque(maxlen=max(window, 20) + 1)

    def add(self, at: float, cost: float) -> None:
        """A row came, in order of time, and this much of the budget was spent on it."""
        self._rows.append((at, cost))

    def seconds_left(self, budget: float, now: float | None = None) -> float | None:
        """Seconds that the rest of the budget takes; None before that can be said.

        Args:
            budget: what is left of it.
            now: by the clock of `add`; None for the time of the last row.
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
        # While the next row takes its time, there is no less to do than what follows it.
        return max(0.0, each * budget - min(since, each))


class Standing:
    """What is known of one search from the rows that it has.

    Args:
        evaluations, epochs: its budget, counted both ways.
        unit: what the budget is held to.
        population: evaluations in a generation.
        head: which unit is the new classifier.
    """

    def __init__(
        self,
        evaluations: int,
        epochs: int = 0,
        unit: Literal["evaluations", "epochs"] = "evaluations",
        population: int = 10,
        head: int = -1,
    ) -> None:
        self._budgets = {"evaluations": evaluations, "epochs": epochs}
        self.unit = unit
        self._population = population
        self._head = head
        self.rows = 0
        self.best: Evaluation | None = None
        self.pace = Pace(2 * population)
        self._epochs = 0
        self._counts = dict.fromkeys(("failed", "stopped early", "answered from the ledger"), 0)
        self._ahead: set[int] = set()
        self._next = 0
        """The first evaluation that has no row."""
        self._generations = False

    @property
    def total(self) -> int:
        """The budget."""
        return self._budgets[self.unit]

    @property
    def done(self) -> int:
        """What is spent of it."""
        return self.rows if self.unit == "evaluations" else self._epochs

    @property
    def left(self) -> int:
        """What is not."""
        return max(0, self.total - self.done)

    def add(self, row: Evaluation, at: float | None = None) -> bool:
        """Take note of a row.

        Args:
            at: when it came; None for one that was there before.

        Returns:
            Whether it is the best so far.
        """
        self.rows += 1
        self._epochs += row.epochs
        self._counts["failed"] += not (row.scored or row.status == "stopped")
        self._counts["stopped early"] += row.status == "stopped"
        self._counts["answered from the ledger"] += row.status == "cached"
        self._generations = self._generations or row.generation is not None
        self._ahead.add(row.evaluation)
        while self._next in self._ahead:
            self._ahead.remove(self._next)
            self._next += 1
        if at is not None:
            self.pace.add(at, 1 if self.unit == "evaluations" else row.epochs)
        improved = row.scored and (self.best is None or row.score < self.best.score)
        if improved:
            self.best = row
        return improved

    @property
    def amount_text(self) -> str:
        """What is spent, `37/100 evaluations`."""
        return f"{self.done}/{self.total} {self.unit}"

    @property
    def generation_text(self) -> str:
        """The generation that is worked on, counted from 1; empty without generations."""
        if not self._generations or not self.left:
            return ""
        number = self._next // self._population + 1
        if self.unit == "epochs":
            return f"generation {number}"
        return f"generation {number} of {-(-self.total // self._population)}"

    @property
    def best_text(self) -> str:
        """The best evaluation so far, and its plan."""
        if self.best is None:
            return "no result yet"
        accuracy = self.best.val_accuracy
        shown = f", accuracy {accuracy:.3f}" if accuracy is not None else ""
        decay = self.best.plan.get("weight_decay", 0.0)
        plan = plan_text(self.best.unit_lrs, self._head, decay)
        return (
            f"best validation loss {self.best.val_loss:.4f}{shown} "
            f"(#{self.best.evaluation}{plan and ': '}{plan})"
        )

    @property
    def counts_text(self) -> str:
        """What did not go the usual way, `2 failed, 31 stopped early`; often empty."""
        return ", ".join(f"{count} {what}" for what, count in self._counts.items() if count)

    def left_text(self, now: float | None = None) -> str:
        """How long it will take, or what comes after the last row.

        Args:
            now: by the clock that rows were added by.
        """
        if not self.left:
            return "testing the best model" if self.best else "done"
        seconds = self.pace.seconds_left(self.left, now)
        return "time left not known yet" if seconds is None else f"{duration(seconds)} left"
