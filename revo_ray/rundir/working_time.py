"""Working time of a search: the one clock of its progress, its result and its report."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from revo_ray.rundir.evaluation import Evaluation

PAUSE_SECONDS = 5.0
"""A longer time without a running evaluation is a pause, and does not count."""


class WorkingTime:
    """Adds up the time in which at least one evaluation ran.

    Short waits between evaluations count too. A pause between an interruption and `--resume` does
    not, nor does the time before the first evaluation. The rows alone decide, so every reader of a
    ledger finds the same time.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._spans: list[tuple[float, float]] = []
        """Times of work, sorted; pauses lie between them."""

    def add(self, row: Evaluation) -> float:
        """Count a row; returns the seconds that it adds."""
        start, end = min(row.started_at, row.finished_at), row.finished_at
        if start <= 0:  # a version that recorded no times, or not this one
            return 0.0
        first = bisect_left(self._spans, start - PAUSE_SECONDS, key=lambda span: span[1])
        last = bisect_right(self._spans, end + PAUSE_SECONDS, key=lambda span: span[0])
        joined = self._spans[first:last]
        start, end = min([start, *(s for s, _ in joined)]), max([end, *(e for _, e in joined)])
        more = end - start - sum(e - s for s, e in joined)
        self._spans[first:last] = [(start, end)]
        self.seconds += more
        return more


def working_seconds(rows: Iterable[Evaluation]) -> float:
    """The working time of rows, in any order."""
    clock = WorkingTime()
    for row in rows:
        clock.add(row)
    return clock.seconds


def machines(rows: Iterable[Evaluation]) -> int:
    """Number of machines that made rows; 0 if none is recorded.

    Ray gives a machine a new node id at each start, so only the part before it counts.
    """
    return len({row.node.partition(":")[0] for row in rows if row.node})
