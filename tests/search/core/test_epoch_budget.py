"""`budget: epochs` over a whole search: deaths, returns, early ends and resumes waste no epoch."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.errors import SearchError
from revo_ray.methods import make_method
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.state import SearchState
from revo_ray.settings.schema import SearchConfig
from tests.properties import examples
from tests.search.core.by_hand import UNITS, open_state

EVALUATIONS, EPOCHS = 5, 4
BUDGET = EVALUATIONS * EPOCHS


class Stopping:
    """Early stopping of a method; the test decides what it stops."""

    def rebuild(self, rows: Iterable[Evaluation]) -> None:
        self.rebuilt = list(rows)

    def add(self, evaluation: int, trial: Any, controller: Any) -> None: ...

    def result(self, *_: Any) -> str:
        return "CONTINUE"


def open_search(folder: Path, method: str) -> SearchState:
    options = [f"search.evaluations={EVALUATIONS}", f"train.epochs={EPOCHS}"]
    options += [f"method.name={method}", "search.budget=epochs", "search.population=4"]
    config = SearchConfig.load(None, options)
    stopping = Stopping()
    state = SearchState(
        config,
        RunDirectory(str(folder)),
        make_method(config.method),
        list(UNITS),
        {},
        {},
        early_stopping=stopping,
    )
    assert stopping.rebuilt == list(state.ledger)
    return state


ENDS = ["whole"] * 3 + ["stopped"] * 4 + ["diverged", "died", "returned", "resumed"]


@given(
    method=st.sampled_from(["random", "revo-continuous", "revo-binary"]),
    workers=st.integers(1, 4),
    seed=st.integers(0, 10**6),
)
@examples(40)
def test_every_epoch_is_spent_and_none_twice(
    method: str, workers: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, rng = tmp_path_factory.mktemp("run"), random.Random(seed)
    state, busy = open_search(folder, method), []

    def spent() -> int:
        return sum(row.epochs for row in state.ledger)

    while not state.spent:
        while len(busy) < workers and (request := state.next_request()) is not None:
            busy.append(request)
        granted = sum(request.config["epochs"] for request in busy)
        assert spent() + granted <= BUDGET
        # Workers idle at a barrier, or when those that are busy may need all that is left.
        assert len(busy) == workers or method != "random" or spent() + granted == BUDGET
        if not busy:  # the last rows were answered from the ledger
            assert state.spent
            break
        request, end = busy.pop(rng.randrange(len(busy))), rng.choice(ENDS)
        granted = request.config["epochs"]
        if end == "resumed":
            state, busy = open_search(folder, method), []
            continue
        if end == "died":
            try:
                state.lost(request.proposal, "killed")
            except SearchError:  # three evaluations in a row died three times
                state, busy = open_search(folder, method), []
            continue
        if end == "returned":
            state.returned(request.proposal)
            continue
        epochs = granted if end == "whole" else rng.randint(1, granted)
        row = {"status": "diverged" if end == "diverged" else "ok", "epochs": epochs}
        row["val_loss"] = None if end == "diverged" else rng.random()
        whole = end == "diverged" or epochs == EPOCHS
        state.record(request.proposal, {"row": row, "cold": False, "whole": whole}, "trial")
        state.tell(request.proposal.evaluation)
    assert (spent(), busy) == (BUDGET, [])
    assert open_search(folder, method).spent


def test_an_evaluation_that_is_given_up_costs_no_epoch(tmp_path: Path) -> None:
    state = open_search(tmp_path, "random")
    for _ in range(3):
        request = state.next_request()
        assert request.proposal.evaluation == 0
        state.lost(request.proposal, "killed")
    assert [row.status for row in state.ledger] == ["error"]
    granted = []
    while (request := state.next_request()) is not None:
        granted.append(request.config["epochs"])
    assert granted == [EPOCHS] * EVALUATIONS


def test_the_budget_is_that_of_whole_evaluations(tmp_path: Path) -> None:
    state = open_search(tmp_path / "stops", "full")
    assert (state.budget, state.budget_unit) == (BUDGET, "epochs")
    state = open_state(tmp_path / "whole", f"search.evaluations={EVALUATIONS}")
    assert (state.budget, state.budget_unit) == (EVALUATIONS, "evaluations")
