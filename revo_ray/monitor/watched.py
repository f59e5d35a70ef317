"""A search or a study that another process runs, seen through its run directory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from revo_ray.monitor.look import BY_TIME, KILLED, End, Look, Watching
from revo_ray.monitor.status import SearchStatus
from revo_ray.monitor.study_status import StudyStatus
from revo_ray.monitor.view import headline, joined, outcome_text, search_view
from revo_ray.rundir import Evaluation, RunDirectory, SearchResult, StudyDirectory
from revo_ray.rundir.ledger import MAX_ERRORS
from revo_ray.rundir.working_time import machines, working_seconds
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import duration

LATELY = 20
"""Number of last rows from which the busy workers are estimated."""


class WatchedSearch(Watching):
    """A search that may run anywhere.

    Args:
        run: its run directory, with its configuration.
    """

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(run.storage)
        self._run = run
        self._begin()

    def _begin(self) -> None:
        self._config = self._run.config().config
        self.headline = headline(self._config)
        self.status = status_of(self._config)
        self._outcome: SearchResult | None = None
        self._tail = self._run.tail()
        self._lately: deque[Evaluation] = deque(maxlen=LATELY)
        self._errors: dict[int, str] = {}

    def new_rows(self) -> list[Evaluation] | None:
        """The new rows, in the order in which they ended, for `status` to count.

        None if a resumed search took rows back: then `status` has begun anew.
        """
        rows = self._tail.new_rows()
        if rows is None:
            self._begin()
            return None
        rows.sort(key=lambda row: row.finished_at)
        for row in rows:
            if row.status == "stopped" and self._config.search.budget == "epochs":
                self.status.unit = "epochs"  # a method of a plugin stops early, too
            if row.status == "error":
                self._errors[row.evaluation] = row.error or ""
        self._lately.extend(rows)
        self._heard(rows)
        self._outcome = self._run.outcome()
        return rows

    @property
    def result(self) -> SearchResult | None:
        """The result, if it is that of all rows."""
        found = self._outcome
        return found if found and found.evaluations == self.status.rows else None

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
        self._sense()
        if self.finished and self._state == "held" and self._run.config().config != self._config:
            self._begin()  # it is carried on, with more evaluations
        rows = self.new_rows()
        for row in self.new_rows() or [] if rows is None else rows:
            self.status.add(row)
        status, now = self.status, time.time()
        ended = self.finished and self._state != "held"
        if ended or self._is_left:
            end = self.end
            view = search_view(status, instead=end.text)
            return Look(view, end=end if ended or self._has_ended else None)
        workers = _busy_text(self._lately)
        if status.rows:
            since = duration(max(0.0, now - status.ended))
            workers = joined(workers, f"last evaluation ended {since} ago")
        return Look(search_view(status, now, workers=workers))

    @property
    def end(self) -> End:
        """The end of the search, if no process runs it."""
        result = self.result
        if result is not None and self.finished:
            text = f"finished, {outcome_text(result, self.status.objective)}"
            return End(text, complete=True, resumable=False)
        if result is not None and result.stopped_by == "time":
            text = f"{BY_TIME}, {outcome_text(result, self.status.objective)}"
            return End(text, complete=True, resumable=True)
        for first in sorted(self._errors):
            run = range(first, first + MAX_ERRORS)
            if all(number in self._errors for number in run):
                cause = f"the last one with: {self._errors[run[-1]]}"
                text = f"stopped: evaluations {run[0]} to {run[-1]} all failed, {cause}"
                return End(text, complete=False, resumable=True)
        return KILLED


class WatchedStudy(Watching):
    """A study that may run anywhere.

    Args:
        study: its folder, with its configuration.
    """

    def __init__(self, study: StudyDirectory) -> None:
        super().__init__(study.storage)
        self._folder = study
        self._told: set[tuple[str, int]] = set()
        """Finished searches that an event named, with their number of evaluations."""
        self._begin()

    def _begin(self) -> None:
        self._config = config = self._folder.config()
        searches = config.searches()
        self.headline = f"study {config.name}: {len(searches)} searches"
        self._runs = {search.name: self._folder.run(search.name) for search in searches}
        self._begun: dict[str, WatchedSearch] = {}
        self._done: set[str] = set()
        statuses = {search.name: status_of(search) for search in searches}
        self._study = StudyStatus(config.name, len(searches), statuses)

    def look(self) -> Look:
        """Read the new rows of the searches that are not finished.

        Raises:
            UserError: something in a run directory is damaged.
            OSError: the storage cannot be reached.
        """
        self._sense()
        if self._finished and self._state == "held" and self._folder.config() != self._config:
            self._begin()  # it is carried on, with more evaluations or searches
        if not self._read():  # a resumed search took back the errors that stopped it
            self._begin()
            self._read()
        events = []
        for name, search in self._begun.items():
            if search.finished and name not in self._done:
                self._done.add(name)
                self._study.finish(name)
                if search.result and (known := (name, search.status.rows)) not in self._told:
                    self._told.add(known)
                    text = outcome_text(search.result, search.status.objective)
                    events.append(f"{name}: {text}")
        ended = self._finished and self._state != "held"
        end = self._end() if ended or self._is_left else None
        view = self._study.view(time.time(), instead="" if end is None else end.text)
        return Look(view, events, end if ended or self._has_ended else None)

    @property
    def _finished(self) -> bool:
        return len(self._done) == len(self._runs)

    def _read(self) -> bool:
        """Count the new rows; False if a search took rows back."""
        new: list[tuple[str, Evaluation]] = []
        for name, run in self._runs.items():
            if name in self._done or (name not in self._begun and not run.exists):
                continue
            if name not in self._begun:
                search = self._begun[name] = WatchedSearch(run)
                self._study.follow(name, search.status)
            rows = self._begun[name].new_rows()
            if rows is None:
                return False
            new += [(name, row) for row in rows]
        for name, row in sorted(new, key=lambda item: item[1].finished_at):
            self._study.add(name, row)
        self._heard([row for _, row in new])
        return True

    def _end(self) -> End:
        """The end of the study, if no process runs it: that of its unfinished searches."""
        if self._finished:
            return End("finished", complete=True, resumable=False)
        ends = {
            name: search.end
            for name, search in self._begun.items()
            if name not in self._done and search.status.rows
        }
        for name, end in ends.items():
            if not end.complete and end != KILLED:
                return End(f"{name} {end.text}", complete=False, resumable=True)
        if ends and all(end.complete for end in ends.values()):
            return End(BY_TIME, complete=True, resumable=True)
        return KILLED


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
