"""A search or a study that another process runs, seen through its run directory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from revo_ray.errors import UserError
from revo_ray.monitor.progress import joined, outcome_text, plain_line, study_left_text
from revo_ray.monitor.status import Pace, SearchStatus
from revo_ray.rundir import Evaluation, RunDirectory, SearchResult, StudyDirectory
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage
from revo_ray.words import duration

LATELY = 20
"""Number of last rows from which the busy workers are estimated."""


@dataclass(frozen=True)
class View:
    """One look at a search or a study.

    Attributes:
        done, total: the spent budget and the whole one.
        first: the line beside the bar.
        more: the lines below the bar.
        plain: the same in one line of a log; it changes with the rows alone, not with the clock.
        finished: whether nothing more will come.
    """

    done: float
    total: float
    first: str
    more: Sequence[str]
    plain: str
    finished: bool = False


def open_watched(storage: Storage) -> Watched | None:
    """Open the search or the study in a folder; None if there is none yet.

    Raises:
        UserError: there can be none at that place.
        OSError: the storage cannot be reached.
    """
    if storage.local is not None and storage.local.exists() and not storage.local.is_dir():
        raise UserError(f"{storage.uri} is a file; name the run directory of a search or a study")
    run, study = RunDirectory(storage), StudyDirectory(storage)
    if study.exists:
        return WatchedStudy(study)
    if run.exists:
        return WatchedSearch(run)
    names = [name for name in storage.list() if not name.startswith(".")]
    inside = [n for n in names if study.run(n).exists or StudyDirectory(storage.child(n)).exists]
    if inside:
        raise UserError(
            f"{storage.uri} holds {', '.join(inside)}; name one of them: {study.run(inside[0]).uri}"
        )
    if names:
        raise UserError(
            f"{storage.uri} holds neither a search nor a study "
            f"({RunDirectory.CONFIG} or {StudyDirectory.CONFIG}), but {', '.join(names[:3])}"
        )
    above = _above(storage)
    if above is not None and not above.exists():
        raise UserError(f"no such folder {storage.uri!r}: there is no {above.uri!r}")
    return None


def _above(storage: Storage) -> Storage | None:
    """The folder that must exist before a run directory is made: its parent, or the bucket."""
    if storage.local is not None:
        return storage.parent
    above = storage.parent
    while above is not None and (higher := above.parent) is not None:
        above = higher
    return above


def missing_text(storage: Storage) -> str:
    """The message for a folder in which there is no search or study yet."""
    what = "is empty" if storage.exists() else "does not exist yet"
    return f"{storage.uri} {what}: no search or study has begun there"


class WatchedSearch:
    """A search that may run anywhere.

    Args:
        run: its run directory, with its configuration.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._config = run.config().config
        self._begin()

    def _begin(self) -> None:
        self.status = status_of(self._config)
        self.result: SearchResult | None = None
        self._tail = self._run.tail()
        self._lately: deque[Evaluation] = deque(maxlen=LATELY)

    def read_new(self) -> list[Evaluation]:
        """Count the new rows, and return them in the order in which they ended."""
        rows = self._tail.new_rows()
        if rows is None:  # a resumed search took back the errors that stopped it
            self._begin()
            rows = self._tail.new_rows() or []
        rows.sort(key=lambda row: row.finished_at)
        for row in rows:
            if row.status == "stopped" and self._config.search.budget == "epochs":
                self.status.unit = "epochs"  # a method of a plugin stops early, too
            self.status.add(row, row.finished_at)
            self._lately.append(row)
        result = self._run.outcome()
        self.result = result if result and result.evaluations == self.status.rows else None
        return rows

    @property
    def finished(self) -> bool:
        """Whether the whole budget is spent, and the result written."""
        return self.result is not None and self.result.spends(self._config.search.evaluations)

    def look(self) -> View:
        """Read the new rows.

        Raises:
            UserError: something in the run directory is damaged.
            OSError: the storage cannot be reached.
        """
        self.read_new()
        status, now = self.status, time.time()
        name = self._config.name
        if self.finished and self.result is not None:
            text = f"{name}: done, {outcome_text(self.result, status.objective)}"
            best = status.best_text
            return View(1, 1, text, [best, status.counts_text], f"{text}, {best}", finished=True)
        if not status.rows:
            text = f"{name}: {status.amount_text}, no evaluation has ended yet"
            return View(0, status.total, text, [], text)
        ended = max(row.finished_at for row in self._lately)
        since = f"last evaluation ended {duration(max(0.0, now - ended))} ago"
        amount, busy = status.amount_text, _busy_text(self._lately)
        left, plain = status.left_text(now), f"{name}: {plain_line(status)}"
        if self.result is not None and self.result.stopped_by == "time":
            left = f"stopped by search.stop_after, {outcome_text(self.result, status.objective)}"
            plain = f"{name}: {amount}, {left}"
        first = joined(f"{name}: {amount}", status.generation_text, busy, left, since)
        more = [status.best_text, status.counts_text]
        return View(status.done, status.total, first, more, plain)


class WatchedStudy:
    """A study that may run anywhere.

    Args:
        study: its folder, with its configuration.
    """

    def __init__(self, study: StudyDirectory) -> None:
        config = study.config()
        searches = config.searches()
        self._name = config.name
        self._open = {search.name: study.run(search.name) for search in searches}
        self._count = len(self._open)
        self._unbegun = {search.name: status_of(search) for search in searches}
        self._begun: dict[str, WatchedSearch] = {}
        self._finished: dict[str, str] = {}
        self._pace = Pace(40)
        self._rows = 0
        self._last = ""

    def look(self) -> View:
        """Read the new rows of the searches that are not finished.

        Raises:
            UserError: something in a run directory is damaged.
            OSError: the storage cannot be reached.
        """
        ended: list[tuple[float, float, str]] = []
        for name, run in list(self._open.items()):
            if name not in self._begun:
                if not run.exists:
                    continue
                self._begun[name] = WatchedSearch(run)
            search = self._begun[name]
            before = search.status.done
            rows = search.read_new()
            spent = (search.status.done - before) / search.status.total
            ended += [(row.finished_at, spent / len(rows), name) for row in rows]
            self._rows += len(rows)
            if search.finished and search.result is not None:
                self._finished[name] = outcome_text(search.result, search.status.objective)
                del self._open[name]
        for at, cost, name in sorted(ended):
            self._pace.add(at, cost)
            self._last = name
        return self._view()

    def _view(self) -> View:
        known = self._unbegun | {name: search.status for name, search in self._begun.items()}
        statuses = [known[name] for name in self._open]
        done = len(self._finished) + sum(s.done / s.total for s in statuses)
        text = f"study {self._name}: {len(self._finished)} of {self._count} searches finished"
        text += f", {self._rows} evaluations"
        if not self._open:
            lines = [f"{name}: {outcome}" for name, outcome in self._finished.items()]
            return View(done, self._count, text, lines, text, finished=True)
        more = []
        if (last := self._begun.get(self._last)) is not None and self._last in self._open:
            more.append(f"{self._last}: {last.status.amount_text}, {last.status.best_text}")
        more += [f"{name}: {outcome}" for name, outcome in list(self._finished.items())[-3:]]
        left = study_left_text(self._pace, statuses, time.time())
        plain = joined(text, study_left_text(self._pace, statuses, None), *more[:1])
        return View(done, self._count, joined(text, left), more, plain)


Watched = WatchedSearch | WatchedStudy


def status_of(config: SearchConfig) -> SearchStatus:
    """The status of a search that has no rows yet."""
    halving = config.method.options.get("halving", "none") != "none"
    by_epochs = config.search.budget == "epochs" and halving
    return SearchStatus(config, "epochs" if by_epochs else "evaluations")


def _busy_text(rows: Sequence[Evaluation]) -> str:
    """Mean number of workers that trained at once lately; no ledger knows which train now."""
    trained = [row for row in rows if row.seconds > 0 and row.started_at > 0]
    if len(trained) < 2:
        return ""
    span = max(r.finished_at for r in trained) - min(r.started_at for r in trained)
    if span <= 0:
        return ""
    machines = len({row.node for row in trained})
    busy = f"about {sum(row.seconds for row in trained) / span:.1f} workers busy lately"
    return f"{busy} on {machines} machines" if machines > 1 else busy
