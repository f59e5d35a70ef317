"""`search.stop_after` by hand: what runs ends, the best model is tested, `--resume` goes on."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core import stop_after
from revo_ray.search.core.stop_after import StopAfter
from revo_ray.search.core.summary import finished_result, write_result
from tests.properties import examples
from tests.search.core.by_hand import finish, measure, open_state, rows, run

ENDS = ["ok"] * 4 + ["died", "returned"]


class Clock:
    """The monotonic clock, moved by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_searches_are_stopped_and_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, said = Clock(), list[str]()
    monkeypatch.setattr(stop_after, "time", clock)
    states = [open_state(tmp_path / name) for name in ("a", "b")]
    limit = StopAfter(timedelta(minutes=2), said.append)
    clock.now += 119
    limit.check(states)
    assert not any(state.ended for state in states)
    clock.now += 1
    for _ in range(2):
        limit.check(states)
    assert all(state.ended for state in states)
    assert len(said) == 1


def test_without_a_limit_no_search_is_stopped(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    StopAfter(None).check([state])
    assert state.next_request() is not None


@given(
    made=st.integers(0, 29),
    workers=st.integers(1, 4),
    seed=st.integers(0, 999),
    method=st.sampled_from(["revo-continuous", "revo-binary", "random"]),
)
@examples(10)
def test_a_stopped_search_ends_tested_and_goes_on_as_if_it_had_not_been_stopped(
    made: int, workers: int, seed: int, method: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, folder = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("stopped")
    rng, busy, option = random.Random(seed), list[Any](), f"method.name={method}"
    run(open_state(whole, option), whole)
    state = open_state(folder, option)
    run(state, folder, stop_after=made)
    while len(busy) < workers and (request := state.next_request()) is not None:
        busy.append(request)
    state.stop()
    looked = bool(busy and busy[0].proposal is None)  # it was just done
    while not looked and busy:
        assert not state.ended
        assert state.next_request() is None
        request = busy.pop(rng.randrange(len(busy)))
        end = rng.choice(ENDS)
        if end == "died":
            state.lost(request.proposal, "killed")
        elif end == "returned":
            state.returned(request.proposal)
        else:
            state.record(request.proposal, measure(request, folder), "trial")
            state.tell(request.proposal.evaluation)
    assert state.ended
    for request in busy:  # work of its end that had begun
        state.forms.lost(request.config, None)
    finish(state)
    assert state.done
    assert state.next_request() is None
    result, tested = write_result(state), state.best is not None
    assert result.stopped_by == ("budget" if state.spent else "time")
    assert (result.test is not None) == tested == (result.test_looks > 0)
    assert result.evaluations == len(state.ledger)
    assert RunDirectory(str(folder)).outcome() == result

    again = open_state(folder, option)
    assert (finished_result(again) == result) == state.spent
    if not state.spent:
        run(again, folder, workers)
        last = write_result(again)
        assert last.stopped_by == "budget"
        assert last.test_looks >= result.test_looks
    attempts = [{**row, "attempts": 1} for row in rows(folder)]
    assert attempts == rows(whole)


def test_a_worker_that_is_killed_as_its_search_stops_costs_nothing(tmp_path: Path) -> None:
    """The evaluation is given up: no attempt is counted, however often it happens."""
    state = open_state(tmp_path)
    run(state, tmp_path, stop_after=2)
    for _ in range(5):
        state = open_state(tmp_path)
        request = state.next_request()
        assert request is not None
        assert request.proposal is not None
        state.stop()
        for _ in range(5):
            state.lost(request.proposal, "killed")
        assert state.ended
        assert len(state.ledger) == 2
