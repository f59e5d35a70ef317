"""`best/`, `result.json` and the test are of one row: the best that was trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from revo_ray.errors import SearchError
from revo_ray.objective import METRICS, Scores
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.forms import FORMS
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.prepare import RULES, Preparation, resolve
from revo_ray.search.core.requests import Request
from revo_ray.search.core.state import SearchState
from revo_ray.search.core.summary import finished_result, write_result
from revo_ray.settings.schema import SearchConfig
from tests.properties import examples
from tests.search.core.by_hand import answer, files, finish, measure, open_state, run
from tests.search.core.by_hand import open_search as open_state_of


def weights(evaluation: int | None) -> bytes:
    names = None if evaluation is None else {"evaluation": str(evaluation)}
    return save({"w": torch.zeros(1)}, names)


def assert_is_of(folder: Path, row: Evaluation) -> None:
    best, card = (
        RunDirectory(str(folder)).best,
        json.loads((folder / "best" / "config.json").read_bytes()),
    )
    assert best.owner == card["evaluation"] == row.evaluation
    assert Scores.of_columns(card) == row.scores
    assert json.loads((folder / "best" / "plan.json").read_bytes()) == {
        "unit_lrs": row.unit_lrs,
        **row.plan,
    }


@given(
    scores=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=12, max_size=12),
    objective=st.sampled_from(list(METRICS)),
    workers=st.integers(1, 4),
    resumes=st.sets(st.integers(0, 11)),
)
@examples(15)
def test_all_that_is_kept_of_the_best_is_of_one_row(
    scores: list[tuple[int, int]],
    objective: str,
    workers: int,
    resumes: set[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Losses and metrics of few values, so that many rows tie."""
    folder = tmp_path_factory.mktemp("run")
    options = ("search.evaluations=12", "search.population=4", f"search.objective={objective}")
    best: Evaluation | None = None

    def place(row: Evaluation) -> tuple[float, float, int]:
        value = METRICS[objective].value(row.scores)
        return (value if objective == "loss" else -value), row.val_loss, row.evaluation

    def open_search() -> SearchState:
        state = open_state(folder, *options)
        if best is not None:
            assert_is_of(folder, best)
        return state

    state, busy = open_search(), []
    for ended in range(12):
        if ended in resumes:
            state, busy = open_search(), []
        while len(busy) < workers and (request := state.next_request()) is not None:
            busy.append(request)
        request = busy.pop()
        number = request.proposal.evaluation
        loss, other = scores[number]
        columns = {metric.column: other / 4 for metric in METRICS.values()} | {"val_loss": loss}
        state.run.storage.write(f"models/{number:06d}.safetensors", weights(number))
        measured = measure(request, folder, **columns) | {"weights": True}
        state.record(request.proposal, measured, "trial")
        state.tell(number)
        row = state.ledger[number]
        best = row if best is None else min(best, row, key=place)
        assert_is_of(folder, best)
    finish(state)
    written = write_result(state)
    assert RunDirectory(str(folder)).outcome() == written
    assert written.best == {
        **{"evaluation": best.evaluation, "generation": best.generation, "genome": best.genome},
        **{"plan": {"unit_lrs": best.unit_lrs, **best.plan}, **best.scores.columns},
    }
    assert written.test == written.forms["best"].test
    assert {*written.forms["best"].members} == {best.evaluation}


SPOILT: dict[str, Callable[[Path, int], Any]] = {
    "gone": lambda path, best: path.unlink(),
    "cut": lambda path, best: path.write_bytes(path.read_bytes()[:20]),
    "empty": lambda path, best: path.write_bytes(b""),
    "of no row": lambda path, best: path.write_bytes(weights(None)),
    "of another row": lambda path, best: path.write_bytes(weights((best + 1) % 12)),
    "of a row to come": lambda path, best: path.write_bytes(weights(99)),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_weights_that_are_not_the_best_rows_are_trained_again(tmp_path: Path, spoilt: str) -> None:
    options = ["search.evaluations=12", f"storage={tmp_path}", "name=run"]
    config = resolve(SearchConfig.load(None, options))[0]
    folder, directory = tmp_path / "run", RunDirectory.of(config)

    def open_search() -> SearchState:
        return open_state_of(config, directory)

    def finished() -> bool:
        preparation = Preparation(
            config.storage,
            True,
            ExitStack(),
            prepare_table=lambda data, path: pytest.fail("it is finished"),
            early_stopping=lambda method, config: None,
        )
        return preparation.finished(config) is not None

    directory.write_config(config, {}, RULES)
    state = open_search()
    run(state, folder)
    write_result(state)
    assert finished()
    assert finished_result(open_search()) is not None
    for form in state.forms.members:
        (folder / form / "config.json").write_text("{")
        assert not finished()
        finish(open_search())
        assert finished()
    path, number = folder / "best" / "model.safetensors", state.best.evaluation
    SPOILT[spoilt](path, number)
    assert not finished()
    assert finished_result(open_search()) is not None  # opening it copied the kept weights back
    assert finished()
    SPOILT[spoilt](path, number)
    SPOILT[spoilt](folder / state.run.models.path(number), number)
    again = open_search()
    assert finished_result(again) is None
    request = again.next_request()
    assert request.config["name"] == f"train models/{number}"
    assert request.config["plan"] == {"unit_lrs": state.best.unit_lrs, **state.best.plan}
    again.forms.answered(request.config, answer(request))
    finish(again)
    assert finished()


SMALL = ("search.evaluations=12", "search.population=4")


def contents(folder: Path) -> dict[str, Any]:
    """The files of models and predictions; of tests all but the number of looks."""
    found: dict[str, Any] = files(folder)
    predictions = RunDirectory(str(folder)).predictions
    for form in FORMS:
        test = predictions.test(form)
        assert test is not None
        found[f"predictions/test-{form}.npz"] = (test.members, test.logits.tolist())
    return found


def test_nothing_is_left_of_a_search_whose_ledger_was_deleted(tmp_path: Path) -> None:
    """The numbers of its evaluations come again, for others."""
    whole, folder = tmp_path / "whole", tmp_path / "run"
    run(open_state(whole, *SMALL), whole)
    run(open_state(folder, *SMALL, "search.seed=1"), folder)
    assert contents(folder) != contents(whole)
    shutil.rmtree(folder / "ledger")
    state = open_state(folder, *SMALL)
    assert files(folder).keys() == {"predictions/images.parquet"}
    run(state, folder)
    assert contents(folder) == contents(whole)


def test_forms_of_rows_that_were_taken_back_are_made_and_tested_again(tmp_path: Path) -> None:
    """Errors stop a search that was tested before; rows that came from them get other samples."""
    options = (*SMALL, "search.keep=2")
    whole, folder = tmp_path / "whole", tmp_path / "run"

    def requests(state: SearchState) -> dict[int, Request]:
        """All evaluations that may be made now."""
        found = {}
        while not state.ended and (request := state.next_request()) is not None:
            found[request.proposal.evaluation] = request
        return found

    def work(state: SearchState, request: Request, status: str = "ok") -> None:
        """Make an evaluation; the tenth is better than all others."""
        number = request.proposal.evaluation
        best = {"val_loss": 0.0} if number == 9 else {}
        state.record(request.proposal, measure(request, Path(state.run.uri), status, **best), "")
        state.tell(number)

    def work_to_the_end(state: SearchState) -> SearchState:
        while not state.spent:
            for request in requests(state).values():
                work(state, request)
        finish(state)
        return state

    work_to_the_end(open_state(whole, *options))
    state = open_state(folder, *options)
    for _ in range(2):
        for number, request in requests(state).items():
            work(state, request, "error" if number in (6, 7) else "ok")
    busy = requests(state)
    work(state, busy.pop(9))
    state.stop()
    for request in busy.values():
        state.returned(request.proposal)
    finish(state)
    write_result(state)
    assert state.run.best.owner == 9
    state = open_state(folder, *options)
    with pytest.raises(SearchError, match="evaluations 6 to 8 all failed"):
        work(state, requests(state)[8], "error")
    state = work_to_the_end(open_state(folder, *options))
    assert contents(folder) == contents(whole)
    assert write_result(state).forms["best"].looks == 2
