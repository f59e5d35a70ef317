"""Estimates the time that the rest of a budget takes."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from revo_ray.words import rough_duration

RESAMPLES = 500
QUANTILES = (0.1, 0.5, 0.9)


class TimeLeft(NamedTuple):
    """The seconds that are left: the median, and the limits of four cases in five."""

    low: float
    median: float
    high: float

    @property
    def text(self) -> str:
        """The estimate in words, `about 4m 15s left (3m 30s to 5m 00s)`."""
        low, median, high = map(rough_duration, self)
        return f"about {median} left" + (f" ({low} to {high})" if low != high else "")


class Pace:
    """Measures how fast a budget is spent, from the last rows.

    Evaluations that were stopped early, or answered from the ledger, count with the time that they
    took. So the estimate holds for the usual mixture of whole and quick evaluations.

    Args:
        window: number of last rows that count.
    """

    def __init__(self, window: int) -> None:
        self._rows: deque[tuple[float, float]] = deque(maxlen=window)

    def add(self, seconds: float, cost: float) -> None:
        """Note the working time that a row added, and its part of the budget."""
        self._rows.append((seconds, cost))

    def left(self, budget: float, since: float = 0.0) -> TimeLeft | None:
        """Estimate the time for the rest of the budget; None if the rows took no time.

        The spread is a bootstrap: the known rows are drawn anew, for the mean, and so is the sum of
        the rows that are left.

        Args:
            budget: the part of the budget that is left.
            since: seconds since the last row. If the next row is late, the rows after it still
                take their whole time.
        """
        if len(self._rows) < 2:
            return None
        seconds, costs = np.array(self._rows, dtype=np.float64).T
        if seconds.sum() <= 0 or costs.sum() <= 0:
            return None
        random, count = np.random.default_rng(0), len(seconds)
        drawn = random.integers(0, count, (RESAMPLES, count))
        paces = seconds[drawn].sum(1) / np.maximum(costs[drawn].sum(1), costs.mean())
        pace = seconds.sum() / costs.sum()
        spread = np.std(seconds - pace * costs) * np.sqrt(budget / costs.mean())
        totals = paces * budget + spread * random.standard_normal(RESAMPLES)
        low, median, high = np.quantile(totals, QUANTILES) - min(since, pace * costs.mean())
        return TimeLeft(*(max(0.0, float(value)) for value in (low, median, high)))
