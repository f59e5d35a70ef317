"""Assignments: which trial of Ray Tune works on which evaluation of which search."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray.tune.experiment import Trial

from revo_ray.errors import SearchError, last_line
from revo_ray.evolve.proposals import Proposal
from revo_ray.search.core.requests import Request
from revo_ray.search.core.state import SearchState
from revo_ray.search.ray.internals import worker_of

ALONE_S = 600.0
"""Seconds that an evaluation waits for a device of its own, while no other one of the run works."""

LOADING_S = 300.0
"""Seconds beyond `train.time_limit` that a worker has for its first result, to load everything."""


@dataclass
class Assignment:
    """A trial's work, and its last result."""

    state: SearchState
    request: Request
    trial: Trial | None = None
    reported: dict[str, Any] | None = None
    since: float | None = None
    """Time at which it got a worker, by the monotonic clock; None without one."""
    late: bool = False
    """Whether it took longer than `train.time_limit`."""
    given_up: bool = False
    """Whether its search was stopped."""
    alone: bool = False
    """Whether it wants a GPU or a machine that no other evaluation shares."""

    @property
    def proposal(self) -> Proposal | None:
        """The evaluation that it makes; None for other work."""
        return self.request.proposal

    @property
    def parts(self) -> int:
        """Number of evaluations that it may take as long as: a soup tries several models."""
        return max(1, len(self.request.config.get("candidates", ())))

    @property
    def waits_alone(self) -> bool:
        """Whether it waits for a GPU or a machine that others still share."""
        return self.alone and self.trial is not None and self.trial.status == Trial.PENDING

    @property
    def worker(self) -> Any:
        """The actor that works on it, or that is about to; None without one."""
        return self.trial and worker_of(self.trial)


class Assignments:
    """The work of all live trials; shared by the searcher, the scheduler and the callback of Tune.

    Args:
        states: the searches, in the order in which they get free workers.
        slots: gives the number of trials that may be live; nodes come and go, so it is asked every
            few seconds.
        finish: called once with each search that is done.
    """

    REFRESH_S = 5.0

    def __init__(
        self,
        states: Sequence[SearchState],
        slots: Callable[[], int],
        finish: Callable[[SearchState], None] = lambda state: None,
    ) -> None:
        self.states = list(states)
        self.live: dict[str, Assignment] = {}
        self.failure: BaseException | None = None
        self.set_aside: dict[str, SearchError] = {}
        """Errors of searches that cannot go on, while others can."""
        self._ask_slots = slots
        self._finish = finish
        self._open = list(states)
        self._slots, self._asked_at = 0, float("-inf")
        self._loaded: set[int] = set()
        """Hashes of the workers that have loaded everything; handles would keep them alive."""
        self._alone_since = float("-inf")

    @property
    def slots(self) -> int:
        """Trials that may be live now."""
        now = time.monotonic()
        if now - self._asked_at > self.REFRESH_S:
            self._slots, self._asked_at = max(1, self._ask_slots()), now
        return self._slots

    @property
    def busy(self) -> int:
        """Trials that a worker works on now."""
        trials = (work.trial for work in self.live.values())
        return sum(trial is not None and trial.status == Trial.RUNNING for trial in trials)

    @property
    def making_room(self) -> bool:
        """Whether an evaluation waits for a GPU or a machine of its own.

        No other one begins until then, and no idle worker stays: either might hold a part of it.
        """
        return any(work.waits_alone for work in self.live.values())

    @contextmanager
    def keeping_failure(self, state: SearchState | None = None) -> Iterator[None]:
        """Remember an exception, since Tune turns exceptions into text.

        Args:
            state: the search that fails; if there are others, they go on.
        """
        try:
            yield
        except Exception as error:
            if isinstance(error, SearchError) and state is not None and len(self.states) > 1:
                self.set_aside.setdefault(state.config.name, error)
                if state in self._open:
                    self._open.remove(state)
                return
            self.failure = self.failure or error
            raise

    @property
    def done(self) -> bool:
        """Whether every search is done. Those that became done since the last call are finished."""
        for state in [state for state in self._open if state.done]:
            self._open.remove(state)
            self._finish(state)
        return not self._open

    def assign(self, trial_id: str) -> dict[str, Any] | None:
        """Give a trial the next work of a search: its configuration; None if no search has work."""
        if len(self.live) >= self.slots or self.making_room:
            return None
        for state in self._open:
            request = state.next_request()
            if request is not None:
                self.live[trial_id] = Assignment(state, request)
                return request.config
        if not self.live and not self.done:
            names = ", ".join(state.config.name for state in self._open)
            raise SearchError(f"{names}: budget is left, but the method proposes nothing")
        return None

    def collect_ended(self) -> None:
        """Take back the work of trials that ended without a row: their worker died, say."""
        for trial_id, work in list(self.live.items()):
            if work.trial is None or not work.trial.is_finished():
                continue
            del self.live[trial_id]
            died = work.trial.status == Trial.ERROR
            with self.keeping_failure(work.state):
                if work.proposal is None:
                    work.state.forms.lost(work.request.config, _cause(work) if died else None)
                elif died:
                    work.state.lost(work.proposal, _cause(work))
                else:
                    work.state.returned(work.proposal)

    def heard_from(self, work: Assignment) -> None:
        """Note that a worker reported something: it has loaded all that it needs."""
        self._loaded.add(hash(work.worker))

    def crowded_out(self) -> list[Trial]:
        """Trials that have waited too long for a GPU or a machine of their own, each once.

        Somebody else holds a part of each. The evaluations are then made as they were before.
        """
        now, waiting = time.monotonic(), [w for w in self.live.values() if w.waits_alone]
        if not waiting or self.busy:
            self._alone_since = now
        if now - self._alone_since <= ALONE_S:
            return []
        for work in waiting:
            assert work.proposal is not None
            work.state.crowded_out(work.proposal)
        return [work.trial for work in waiting if work.trial is not None]

    def given_up(self) -> list[Any]:
        """The workers of evaluations whose searches were stopped, each once."""
        found = []
        for work in self.live.values():
            stopped = work.state.stopped and work.proposal is not None
            if stopped and not work.given_up and work.worker is not None:
                work.given_up = True
                found.append(work.worker)
        return found

    def overdue(self) -> list[Any]:
        """The workers of trials that take longer than `train.time_limit`, each once."""
        found, now = [], time.monotonic()
        for work in self.live.values():
            limit = work.state.config.train.time_limit
            if limit is None or work.late:
                continue
            if work.worker is None:
                work.since = None
            elif work.since is None:
                work.since = now
            elif now - work.since > limit * work.parts + (
                0 if hash(work.worker) in self._loaded else LOADING_S
            ):
                work.late = True
                found.append(work.worker)
        return found


def _cause(work: Assignment) -> str:
    if work.late:
        return f"it took longer than train.time_limit, {work.state.config.train.time_limit:g} s"
    return last_line((work.trial and work.trial.get_error()) or "")
