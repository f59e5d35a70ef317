"""Status of a study, from the rows of its searches."""

from __future__ import annotations

from collections.abc import Mapping

from revo_ray.monitor.pace import Pace
from revo_ray.monitor.status import SearchStatus
from revo_ray.monitor.view import View, joined
from revo_ray.rundir import Evaluation
from revo_ray.rundir.working_time import WorkingTime
from revo_ray.words import duration

WINDOW = 60
"""Number of last rows from which the pace of a study is estimated."""


class StudyStatus:
    """Summary of a study.

    Args:
        name: the study's name.
        searches: number of its searches.
        open_ones: the searches that are not finished, by name.
    """

    def __init__(self, name: str, searches: int, open_ones: Mapping[str, SearchStatus]) -> None:
        self.name = name
        self._searches = searches
        self._open = dict(open_ones)
        self._clock = WorkingTime()
        self._pace = Pace(WINDOW)
        self._ended = 0.0
        self._measured = False
        self.rows = 0
        self._last = ""

    @property
    def finished(self) -> int:
        """Number of finished searches."""
        return self._searches - len(self._open)

    def follow(self, name: str, status: SearchStatus) -> None:
        """Take this status for an open search that has no rows yet."""
        self._open[name] = status

    def add(self, name: str, row: Evaluation) -> None:
        """Count a row of an open search, in the order in which rows end."""
        status = self._open[name]
        before = status.done
        status.add(row)
        self._pace.add(self._clock.add(row), (status.done - before) / status.total)
        self._ended = max(self._ended, row.finished_at)
        self._measured = self._measured or status.is_measured
        self._last = name
        self.rows += 1

    def finish(self, name: str) -> None:
        """Count an open search as finished."""
        self._open.pop(name, None)

    def view(
        self,
        now: float | None = None,
        *,
        workers: str = "",
        memory: str = "",
        instead: str = "",
    ) -> View:
        """The view of the study; see `search_view`."""
        text = first = f"{self.finished} of {self._searches} searches finished"
        so_far = ""
        if self.rows:
            so_far = f"{duration(self._clock.seconds)} so far"
            first = f"{text}, {self.rows} evaluations"
            text = f"{first} in {duration(self._clock.seconds)}"
        last = self._open.get(self._last)
        now_text = f"{self._last}: {last.amount_text}, {last.best_text}" if last else ""
        left = instead or self._left_text(now)
        done = self.finished + sum(status.done / status.total for status in self._open.values())
        more = joined(so_far, left, workers), now_text, memory
        plain = ", ".join(filter(None, (text, left)))
        return View(done, self._searches, first, more, plain, self.finished)

    def _left_text(self, now: float | None) -> str:
        left = sum(status.left / status.total for status in self._open.values())
        if not left:
            return "testing the last models" if self._open else ""
        if not self._measured:
            return "time left known after generation 1"
        found = self._pace.left(left, max(0.0, (now or self._ended) - self._ended))
        return "" if found is None else found.text
