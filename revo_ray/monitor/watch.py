"""`revo-ray watch`: a search or a study that runs elsewhere, seen through its ledgers."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import yaml
from rich.console import Console

from revo_ray.errors import UserError
from revo_ray.monitor.live import LiveLines
from revo_ray.monitor.progress import (
    joined,
    outcome_text,
    plain_line,
    say,
    study_left_text,
)
from revo_ray.monitor.status import Pace, Standing
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.ledger import LedgerTail
from revo_ray.rundir.outcome import SearchResult, stored_result
from revo_ray.rundir.recorded_config import FILE as CONFIG
from revo_ray.settings.deleted import read_back
from revo_ray.settings.safe_yaml import read_yaml
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import FILE as STUDY
from revo_ray.settings.study import StudyConfig
from revo_ray.storage import Storage
from revo_ray.words import duration

C = TypeVar("C", bound=SearchConfig)

LATELY = 20
"""Rows that tell how many workers are busy."""


@dataclass(frozen=True)
class View:
    """What there is to see now.

    Attributes:
        done, total: what is spent of the budget.
        first: the line beside the bar.
        more: lines below it.
        plain: the same in one line of a log; it changes with the rows alone, not with the clock.
        finished: whether nothing more will come.
    """

    done: float
    total: float
    first: str
    more: Sequence[str]
    plain: str
    finished: bool = False


def watch(directory: str, console: Console, *, once: bool = False, every: float = 2.0) -> None:
    """Show where a search or a study stands, until it is done.

    On a terminal the lines are drawn again in place; else a line is printed when something changed.

    Args:
        directory: a run directory, as a path or URI; it may be yet to come.
        console: where to write.
        once: print what there is, and end.
        every: seconds between two looks.

    Raises:
        UserError: there can be no search at that place.
        OSError: the storage cannot be reached.
    """
    storage = Storage(directory)
    seen = open_watched(storage)
    if once:
        _print_once(seen, storage, console)
        return
    if seen is None:
        say(console, f"{_missing(storage)}; waiting for one")
    while seen is None:
        time.sleep(every)
        seen = open_watched(storage)
    _follow(seen, console, every)


def _print_once(seen: Watched | None, storage: Storage, console: Console) -> None:
    if seen is None:
        say(console, _missing(storage))
        return
    view = seen.look()
    for line in (view.first, *view.more):
        if line:
            say(console, line)


def _follow(seen: Watched, console: Console, every: float) -> None:
    view = seen.look()
    said, complained = "", False
    live = LiveLines(console, view.total)
    try:
        while True:
            live.update(view.done, view.first, view.more)
            if not live.shown and view.plain != said:
                said = view.plain
                say(console, said)
            if view.finished:
                break
            time.sleep(every)
            try:
                view, complained = seen.look(), False
            except OSError as error:
                if not complained:
                    say(console, f"{error}; trying again")
                complained = True
    finally:
        live.close()
    if console.is_terminal:
        for line in (view.first, *view.more):
            say(console, line)


def open_watched(storage: Storage) -> Watched | None:
    """The search or study in a folder; None where there is none yet.

    Raises:
        UserError: there can be none at that place.
        OSError: the storage cannot be reached.
    """
    if storage.local is not None and storage.local.exists() and not storage.local.is_dir():
        raise UserError(f"{storage.uri} is a file; name the run directory of a search or a study")
    if storage.exists(STUDY):
        return WatchedStudy(storage)
    if storage.exists(CONFIG):
        return WatchedSearch(storage)
    names = [name for name in storage.list() if not name.startswith(".")]
    inside = [n for n in names if any(storage.exists(f"{n}/{file}") for file in (CONFIG, STUDY))]
    if inside:
        raise UserError(
            f"{storage.uri} holds {', '.join(inside)}; name one of them: "
            f"{storage.child(inside[0]).uri}"
        )
    if names:
        raise UserError(
            f"{storage.uri} holds neither a search nor a study ({CONFIG} or {STUDY}), but "
            f"{', '.join(names[:3])}"
        )
    above = _above(storage)
    if above is not None and not above.exists():
        raise UserError(f"no such folder {storage.uri!r}: there is no {above.uri!r}")
    return None


def _above(storage: Storage) -> Storage | None:
    """What has to be there before a run directory can be: its parent, or the bucket."""
    if storage.local is not None:
        return storage.parent
    above = storage.parent
    while above is not None and (higher := above.parent) is not None:
        above = higher
    return above


def _missing(storage: Storage) -> str:
    what = "is empty" if storage.exists() else "does not exist yet"
    return f"{storage.uri} {what}: no search or study has begun there"


class Watched(ABC):
    """Somebody else's search or study."""

    @abstractmethod
    def look(self) -> View:
        """Read what is new.

        Raises:
            UserError: something in the run directory is damaged.
            OSError: the storage cannot be reached.
        """


class WatchedSearch(Watched):
    """A search that may run anywhere.

    Args:
        storage: its run directory, with its configuration.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._config = _read(storage, CONFIG, SearchConfig)
        self._begin()

    def _begin(self) -> None:
        config = self._config
        self.standing = new_standing(config)
        self.result: SearchResult | None = None
        self._tail = LedgerTail(self._storage)
        self._lately: deque[Evaluation] = deque(maxlen=LATELY)

    def read_new(self) -> list[Evaluation]:
        """Take in the rows that are new, in the order in which they ended."""
        rows = self._tail.new_rows()
        if rows is None:  # errors that stopped it were taken back
            self._begin()
            rows = self._tail.new_rows() or []
        rows.sort(key=lambda row: row.finished_at)
        for row in rows:
            if row.status == "stopped" and self._config.search.budget == "epochs":
                self.standing.unit = "epochs"  # by a method that is not known here
            self.standing.add(row, row.finished_at)
            self._lately.append(row)
        result = stored_result(self._storage) if self.standing.left == 0 else None
        self.result = result if result and result.evaluations == self.standing.rows else None
        return rows

    def look(self) -> View:
        """Read what is new."""
        self.read_new()
        standing, now = self.standing, time.time()
        name = self._config.name
        if self.result is not None:
            text = f"{name}: done, {outcome_text(self.result)}"
            best = standing.best_text
            return View(1, 1, text, [best, standing.counts_text], f"{text}, {best}", finished=True)
        if not standing.rows:
            text = f"{name}: {standing.amount_text}, no evaluation has ended yet"
            return View(0, standing.total, text, [], text)
        ended = max(row.finished_at for row in self._lately)
        since = f"last evaluation ended {duration(max(0.0, now - ended))} ago"
        first = joined(
            f"{name}: {standing.amount_text}",
            standing.generation_text,
            _busy_text(self._lately),
            standing.left_text(now),
            since,
        )
        plain = f"{name}: {plain_line(standing)}"
        more = [standing.best_text, standing.counts_text]
        return View(standing.done, standing.total, first, more, plain)


class WatchedStudy(Watched):
    """A study that may run anywhere.

    Args:
        storage: its folder, with its configuration.
    """

    def __init__(self, storage: Storage) -> None:
        config = _read(storage, STUDY, StudyConfig)
        self._name = config.name
        self._open = {search.name: storage.child(search.name) for search in config.searches()}
        self._count = len(self._open)
        self._budgets = {search.name: new_standing(search) for search in config.searches()}
        self._begun: dict[str, WatchedSearch] = {}
        self._finished: dict[str, str] = {}
        self._pace = Pace(40)
        self._rows = 0
        self._last = ""

    def look(self) -> View:
        """Read what is new of the searches that are not finished."""
        ended: list[tuple[float, float, str]] = []
        for name, folder in list(self._open.items()):
            if name not in self._begun:
                if not folder.exists(CONFIG):
                    continue
                self._begun[name] = WatchedSearch(folder)
            search = self._begun[name]
            before = search.standing.done
            rows = search.read_new()
            spent = (search.standing.done - before) / search.standing.total
            ended += [(row.finished_at, spent / len(rows), name) for row in rows]
            self._rows += len(rows)
            if search.result is not None:
                self._finished[name] = outcome_text(search.result)
                del self._open[name]
        for at, cost, name in sorted(ended):
            self._pace.add(at, cost)
            self._last = name
        return self._view()

    def _view(self) -> View:
        standings = [
            self._begun[name].standing if name in self._begun else self._budgets[name]
            for name in self._open
        ]
        done = len(self._finished) + sum(s.done / s.total for s in standings)
        text = f"study {self._name}: {len(self._finished)} of {self._count} searches finished"
        text += f", {self._rows} evaluations"
        if not self._open:
            lines = [f"{name}: {outcome}" for name, outcome in self._finished.items()]
            return View(done, self._count, text, lines, text, finished=True)
        more = []
        if (last := self._begun.get(self._last)) is not None and self._last in self._open:
            more.append(f"{self._last}: {last.standing.amount_text}, {last.standing.best_text}")
        more += [f"{name}: {outcome}" for name, outcome in list(self._finished.items())[-3:]]
        left = study_left_text(self._pace, standings, time.time())
        plain = joined(text, study_left_text(self._pace, standings, None), *more[:1])
        return View(done, self._count, joined(text, left), more, plain)


def new_standing(config: SearchConfig) -> Standing:
    """Where a search of this configuration begins."""
    search = config.search
    halving = config.method.options.get("halving", "none") != "none"
    return Standing(
        search.evaluations,
        search.evaluations * config.train.epochs,
        "epochs" if search.budget == "epochs" and halving else "evaluations",
        search.population,
    )


def _busy_text(rows: Sequence[Evaluation]) -> str:
    """How many workers trained at once lately: no ledger knows who trains now."""
    trained = [row for row in rows if row.seconds > 0 and row.started_at > 0]
    if len(trained) < 2:
        return ""
    span = max(r.finished_at for r in trained) - min(r.started_at for r in trained)
    if span <= 0:
        return ""
    machines = len({row.node for row in trained})
    busy = f"about {sum(row.seconds for row in trained) / span:.1f} workers busy lately"
    return f"{busy} on {machines} machines" if machines > 1 else busy


def _read(storage: Storage, name: str, kind: type[C]) -> C:
    try:
        values, _ = read_yaml(storage.read(name))
        read_back(values)
        return kind.model_validate(values)
    except (FileNotFoundError, yaml.YAMLError, AttributeError, TypeError, ValueError):
        raise UserError(f"{storage.uri}/{name} is damaged, or of another version") from None
