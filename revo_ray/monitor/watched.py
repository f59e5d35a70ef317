"""A search or a study that another process runs, seen through its run directory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from revo_ray.errors import UserError
from revo_ray.monitor.status import SearchStatus
from revo_ray.monitor.study_status import StudyStatus
from revo_ray.monitor.view import View, headline, joined, outcome_text, search_view
from revo_ray.rundir import Evaluation, RunDirectory, SearchResult, StudyDirectory
from revo_ray.rundir.holder import Holder
from revo_ray.rundir.ledger import MAX_ERRORS
from revo_ray.rundir.working_time import machines, working_seconds
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage
from revo_ray.words import duration

LATELY = 20
"""Number of last rows from which the busy workers are estimated."""
ABSENT = 2
"""Number of looks without a running process after which a search has ended."""


@dataclass(frozen=True)
class End:
    """The end of a search or a study.

    Attributes:
        text: how it ended.
        complete: whether its budget, or `search.stop_after`, is spent.
        resumable: whether `--resume` goes on.
    """

    text: str
    complete: bool
    resumable: bool


@dataclass(frozen=True)
class Look:
    """One look at a search or a study.

    Attributes:
        view: its lines.
        events: lines about what has happened since the last look.
        end: None while a process runs it.
    """

    view: View
    events: Sequence[str] = ()
    end: End | None = None


class _Watched:
    """Knows whether a process still runs a search or a study.

    Args:
        folder: its folder.
    """

    def __init__(self, folder: Storage) -> None:
        self._holder = Holder(folder)
        self._absent = 0

    def _is_left(self) -> bool:
        """Whether no process runs it; ask before its files are read, which are final then."""
        self._absent = 0 if self._holder.is_there else self._absent + 1
        return self._absent > 0

    @property
    def _has_ended(self) -> bool:
        """Whether it was left for long enough: a scheduler may just start it again."""
        return self._absent >= ABSENT


def open_watched(storage: Storage) -> Watched | None:
    """Open the search or the study in a folder; None if there is none yet.

    Raises:
        UserError: there can be none at that place.
        OSError: the storage cannot be reached.
    """
    refuse_file(storage)
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


def refuse_file(storage: Storage) -> None:
    """Make sure that a folder is none of this disk's files.

    Raises:
        UserError: it is.
    """
    if storage.local is not None and storage.local.exists() and not storage.local.is_dir():
        raise UserError(f"{storage.uri} is a file; name the run directory of a search or a study")


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


class WatchedSearch(_Watched):
    """A search that may run anywhere.

    Args:
        run: its run directory, with its configuration.
    """

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(run.storage)
        self._run = run
        self._config = run.config().config
        self.headline = headline(self._config)
        self._begin()

    def _begin(self) -> None:
        self.status = status_of(self._config)
        self.result: SearchResult | None = None
        self._tail = self._run.tail()
        self._lately: deque[Evaluation] = deque(maxlen=LATELY)
        self._errors: dict[int, str] = {}

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
            if row.status == "error":
                self._errors[row.evaluation] = row.error or ""
            self.status.add(row)
            self._lately.append(row)
        result = self._run.outcome()
        self.result = result if result and result.evaluations == self.status.rows else None
        return rows

    @property
    def finished(self) -> bool:
        """Whether the whole budget is spent, and the result written."""
        return self.result is not None and self.result.spends(self._config.search.evaluations)

    def look(self) -> Look:
        """Read the new rows.

        Raises:
            UserError: something in the run directory is damaged.
            OSError: the storage cannot be reached.
        """
        is_left = self._is_left()
        self.read_new()
        status, now = self.status, time.time()
        if self.finished or is_left:
            end = self._end()
            view = search_view(status, instead=end.text)
            return Look(view, end=end if self.finished or self._has_ended else None)
        workers = _busy_text(self._lately)
        if status.rows:
            since = duration(max(0.0, now - status.ended))
            workers = joined(workers, f"last evaluation ended {since} ago")
        return Look(search_view(status, now, workers=workers))

    def _end(self) -> End:
        """The end of the search, if no process runs it."""
        if self.result is not None and self.result.stopped_by is not None:
            text = outcome_text(self.result, self.status.objective)
            if self.finished:
                return End(f"finished, {text}", complete=True, resumable=False)
            return End(f"stopped by search.stop_after, {text}", complete=True, resumable=True)
        for first in sorted(self._errors):
            run = range(first, first + MAX_ERRORS)
            if all(number in self._errors for number in run):
                cause = f"the last one with: {self._errors[run[-1]]}"
                text = f"stopped: evaluations {run[0]} to {run[-1]} all failed, {cause}"
                return End(text, complete=False, resumable=True)
        text = "stopped or killed before its end: no process runs it"
        return End(text, complete=False, resumable=True)


class WatchedStudy(_Watched):
    """A study that may run anywhere.

    Args:
        study: its folder, with its configuration.
    """

    def __init__(self, study: StudyDirectory) -> None:
        super().__init__(study.storage)
        config = study.config()
        searches = config.searches()
        self.headline = f"study {config.name}: {len(searches)} searches"
        self._open = {search.name: study.run(search.name) for search in searches}
        self._begun: dict[str, WatchedSearch] = {}
        statuses = {search.name: status_of(search) for search in searches}
        self._study = StudyStatus(config.name, len(searches), statuses)

    def look(self) -> Look:
        """Read the new rows of the searches that are not finished.

        Raises:
            UserError: something in a run directory is damaged.
            OSError: the storage cannot be reached.
        """
        is_left = self._is_left()
        new: list[tuple[str, Evaluation]] = []
        for name, run in self._open.items():
            if name not in self._begun:
                if not run.exists:
                    continue
                self._begun[name] = WatchedSearch(run)
            new += [(name, row) for row in self._begun[name].read_new()]
        for name, row in sorted(new, key=lambda item: item[1].finished_at):
            self._study.add(name, row)
        events = []
        for name, search in self._begun.items():
            if name in self._open and search.finished and search.result is not None:
                text = outcome_text(search.result, search.status.objective)
                events.append(f"{name}: {text}")
                self._study.finish(name)
                del self._open[name]
        end = None
        if not self._open:
            end = End("finished", complete=True, resumable=False)
        elif is_left:
            text = "stopped or killed before its end: no process runs it"
            end = End(text, complete=False, resumable=True)
        view = self._study.view(time.time(), instead="" if end is None else end.text)
        return Look(view, events, end if not self._open or self._has_ended else None)


Watched = WatchedSearch | WatchedStudy


def status_of(config: SearchConfig) -> SearchStatus:
    """The status of a search that has no rows yet."""
    halving = config.method.options.get("halving", "none") != "none"
    by_epochs = config.search.budget == "epochs" and halving
    return SearchStatus(config, "epochs" if by_epochs else "evaluations")


def _busy_text(rows: Sequence[Evaluation]) -> str:
    """Mean number of workers that trained at once lately; no ledger knows which train now."""
    trained = [row for row in rows if row.seconds > 0]
    seconds = working_seconds(trained)
    if len(trained) < 2 or seconds <= 0:
        return ""
    busy = f"about {sum(row.seconds for row in trained) / seconds:.1f} workers busy"
    count = machines(trained)
    return f"{busy} on {count} machines" if count > 1 else busy
