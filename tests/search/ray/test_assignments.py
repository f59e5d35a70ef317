"""Late evaluations: the time limit, and the time that a new worker has beyond it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from revo_ray.methods import make_method
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.requests import Request
from revo_ray.search.core.state import SearchState
from revo_ray.search.ray import assignments
from revo_ray.search.ray.assignments import LOADING_S, Assignment, Assignments
from revo_ray.settings.schema import SearchConfig
from tests.search.core.by_hand import UNITS


class Clock:
    """The monotonic clock, moved by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def trial_on(worker: str | None) -> Any:
    """As much of a trial as `Assignments` looks at: its status and the actor that works on it."""
    return SimpleNamespace(status="RUNNING", temporary_state=SimpleNamespace(ray_actor=worker))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(assignments, "time", made)
    return made


OTHER_WORK = Request(None, {"name": "test best"})


def make_assignments(folder: Path, *overrides: str) -> Assignments:
    config = SearchConfig.load(None, ["search.evaluations=12", *overrides])
    method = make_method(config.method)
    state = SearchState(config, RunDirectory(str(folder)), method, list(UNITS), {}, {})
    return Assignments([state], lambda: 4)


def test_a_worker_that_is_late_is_named_once(tmp_path: Path, clock: Clock) -> None:
    made = make_assignments(tmp_path, "train.time_limit=10")
    warm = made.live["warm"] = Assignment(made.states[0], OTHER_WORK, trial_on("a"))
    new = made.live["new"] = Assignment(made.states[0], OTHER_WORK, trial_on("b"))
    waiting = made.live["waiting"] = Assignment(made.states[0], OTHER_WORK, trial_on(None))
    made.heard_from(warm)
    assert made.overdue() == []  # their time begins
    clock.now += 11
    assert made.overdue() == [warm.worker]
    assert made.overdue() == []
    assert (warm.late, new.late, waiting.late) == (True, False, False)
    clock.now += LOADING_S
    assert made.overdue() == [new.worker]


def test_time_begins_when_a_trial_gets_its_worker(tmp_path: Path, clock: Clock) -> None:
    made = make_assignments(tmp_path, "train.time_limit=10")
    work = made.live["trial"] = Assignment(made.states[0], OTHER_WORK, trial_on("a"))
    made.heard_from(work)
    made.overdue()
    work.trial = trial_on(None)  # its worker is not there yet
    clock.now += 11
    assert made.overdue() == []
    work.trial = trial_on("a")
    assert made.overdue() == []
    clock.now += 11
    assert made.overdue() == [work.worker]


def test_a_soup_may_take_as_long_as_its_candidates(tmp_path: Path, clock: Clock) -> None:
    made = make_assignments(tmp_path, "train.time_limit=10")
    soup = Request(None, {"name": "soup", "candidates": [{}] * 3})
    work = made.live["trial"] = Assignment(made.states[0], soup, trial_on("a"))
    made.heard_from(work)
    made.overdue()
    clock.now += 29
    assert made.overdue() == []
    clock.now += 2
    assert made.overdue() == [work.worker]


def test_without_a_limit_nobody_is_late(tmp_path: Path, clock: Clock) -> None:
    made = make_assignments(tmp_path)
    made.live["trial"] = Assignment(made.states[0], OTHER_WORK, trial_on("a"))
    made.overdue()
    clock.now += 1e6
    assert made.overdue() == []


def test_a_stopped_search_gives_up_its_workers_once_and_keeps_its_test(tmp_path: Path) -> None:
    made = make_assignments(tmp_path)
    state, other = made.states[0], make_assignments(tmp_path / "other").states[0]
    request = state.next_request()
    assert request is not None
    made.live["runs"] = Assignment(state, request, trial_on("a"))
    made.live["waits"] = waiting = Assignment(state, request, trial_on(None))
    made.live["tests"] = Assignment(state, OTHER_WORK, trial_on("b"))
    made.live["other"] = Assignment(other, request, trial_on("c"))
    assert made.given_up() == []
    state.stop()
    assert made.given_up() == ["a"]
    assert made.given_up() == []
    waiting.trial = trial_on("d")
    assert made.given_up() == ["d"]
