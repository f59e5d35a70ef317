"""Errors in a row stop a search; resume makes them again, with all that followed from them."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.errors import SearchError
from tests.properties import examples
from tests.search.core.by_hand import measure, open_state, rows, run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Rows of a search without errors, by its options."""

    @cache
    def rows_of(*settings: str) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("whole")
        run(open_state(folder, *settings), folder)
        return rows(folder)

    return rows_of


SMALL = ("search.evaluations=16", "search.population=4")


@given(
    first=st.integers(0, 13),
    lookahead=st.sampled_from([0, 1, 2, 3, 4, 7]),
    sweep=st.booleans(),
    workers=st.integers(2, 6),
    seed=st.integers(0, 10**6),
)
@examples(25)
def test_errors_in_a_row_leave_no_trace_whoever_ended_first(
    first: int,
    lookahead: int,
    sweep: bool,
    workers: int,
    seed: int,
    whole: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder: Path = tmp_path_factory.mktemp("run")
    settings = (*SMALL, f"search.lookahead={lookahead}", f"method.sweep={sweep}")
    state, rng, busy = open_state(folder, *settings), random.Random(seed), []

    def work() -> None:
        while True:
            while len(busy) < workers and (request := state.next_request()) is not None:
                busy.append(request)
            request = busy.pop(rng.randrange(len(busy)))
            number = request.proposal.evaluation
            failed = first <= number < first + 3
            measured = measure(request, folder, "error" if failed else "ok")
            state.record(request.proposal, measured, "trial")
            state.tell(number)

    with pytest.raises(SearchError, match=f"evaluations {first} to {first + 2} all failed"):
        work()
    run(open_state(folder, *settings), folder, workers, seed)
    assert rows(folder) == whole(*settings)
