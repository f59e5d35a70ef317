"""One search driven by hand: budget, order of writing, failures and resumption, without Ray."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.errors import SearchError, UserError
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.kept_models import best_rows
from revo_ray.rundir.outcome import SearchResult
from revo_ray.search.core.requests import Request
from revo_ray.search.core.retries import MAX_DEATHS
from revo_ray.search.core.state import SearchState
from revo_ray.search.core.summary import finished_result, write_result
from tests.properties import examples
from tests.search.core.by_hand import (
    WEIGHTS,
    answer,
    files,
    finish,
    measure,
    models,
    open_state,
    rows,
    run,
)


def test_the_budget_is_exact_and_best_is_the_best(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    assert run(state, tmp_path, workers=4) == 30
    table = rows(tmp_path)
    assert [row["evaluation"] for row in table] == list(range(30))
    best = sorted(table, key=lambda row: row["val_loss"])
    assert models(tmp_path) == {row["evaluation"] for row in best[:10]}
    assert state.run.best.owner == best[0]["evaluation"]
    plain = min(table[:10], key=lambda row: row["val_loss"])
    assert state.run.plain.owner == plain["evaluation"]
    card = json.loads((tmp_path / "best" / "config.json").read_text())
    assert card["evaluation"] == best[0]["evaluation"]
    plan = json.loads((tmp_path / "best" / "plan.json").read_text())
    assert plan["unit_lrs"] == best[0]["unit_lrs"]


@given(
    cuts=st.lists(st.integers(0, 12), max_size=4),
    workers=st.integers(1, 5),
    seed=st.integers(0, 999),
)
@examples(8)
def test_interruptions_change_no_row_and_repeat_none(
    cuts: list[int], workers: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, broken = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("broken")
    run(open_state(whole), whole)
    made = sum(run(open_state(broken), broken, workers, seed, stop_after=cut) for cut in cuts)
    made += run(open_state(broken), broken, workers, seed)
    assert made == 30
    assert rows(broken) == rows(whole)
    assert files(broken) == files(whole)


def test_binary_duplicates_are_rows_of_the_budget_that_cost_nothing(tmp_path: Path) -> None:
    state = open_state(tmp_path, "method.name=revo-binary", "method.global_lr=0.01")
    assert run(state, tmp_path, workers=3) <= 4  # two bits have four values
    table = rows(tmp_path)
    assert len(table) == 30
    cached = [row for row in table if row["status"] == "cached"]
    assert len(cached) >= 26
    for row in cached:
        source = table[row["source"]]
        assert (row["sample"], row["val_loss"]) == (source["sample"], source["val_loss"])
        assert row["epochs"] == row["images"] == row["seconds"] == 0


@pytest.mark.parametrize("crash", ["predictions", "weights", "row", "weights copied"])
def test_a_crash_between_two_writes_loses_nothing(tmp_path: Path, crash: str) -> None:
    """The order is predictions, weights, row, copy; a driver may die after any of them."""
    whole = tmp_path / "whole"
    run(open_state(whole), whole)
    broken = tmp_path / "broken"
    state = open_state(broken)
    run(state, broken, stop_after=15)
    while True:
        request = state.next_request()
        assert request is not None
        measured = measure(request, broken)
        if measured["weights"]:
            break
        state.record(request.proposal, measured, "trial")
        state.tell(request.proposal.evaluation)
    number = request.proposal.evaluation
    if crash == "predictions":
        state.run.models.delete(number)
    if crash in ("row", "weights copied"):
        row = state._row(request.proposal, **measured["row"])
        state.ledger.append(row)
        if crash == "weights copied":
            state.run.storage.copy(state.run.models.path(number), "best/model.safetensors")
    run(open_state(broken), broken)
    assert rows(broken) == rows(whole)
    assert files(broken) == files(whole)


def test_a_crash_before_the_best_model_was_described_is_mended(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    run(state, tmp_path, stop_after=12)
    described = {path: path.read_text() for path in (tmp_path / "best").glob("*.json")}
    assert len(described) == 2
    for path in described:
        path.write_text("{}")
    open_state(tmp_path)
    assert {path: path.read_text() for path in described} == described


def test_a_dead_worker_costs_an_attempt_and_no_row(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    first = state.next_request()
    assert first is not None
    measure(first, tmp_path)  # it died after its weights were written
    state.lost(first.proposal, "node gone")
    assert models(tmp_path) == set()
    again = state.next_request()
    assert again is not None
    assert again.config == first.config
    state.record(again.proposal, measure(again, tmp_path), "trial")
    state.tell(0)
    assert rows(tmp_path)[0]["attempts"] == 2
    state.lost(again.proposal, "late news")  # of a trial that had reported
    assert len(rows(tmp_path)) == 1


def test_three_deaths_of_one_genome_are_an_error_row(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    for _ in range(3):
        request = state.next_request()
        assert request is not None
        assert request.proposal.evaluation == 0
        state.lost(request.proposal, "out of memory")
    (row,) = rows(tmp_path)
    assert (row["status"], row["attempts"]) == ("error", 3)
    assert row["error"] == "lost 3 times: out of memory"
    following = state.next_request()
    assert following is not None
    assert following.proposal.evaluation == 1


def run_out(state: SearchState, folder: Path, memory: str) -> Request:
    """The next evaluation runs out of memory; its request."""
    request = state.next_request()
    assert request is not None
    failed = measure(request, folder, status="error", error="MemoryError: 2 GiB")
    state.record(request.proposal, failed | {"exhausted": memory}, "trial")
    if request.proposal.evaluation in state.ledger:
        state.tell(request.proposal.evaluation)
    else:
        state.returned(request.proposal)
    return request


@pytest.mark.parametrize("memory", ["device", "machine"])
def test_memory_that_runs_out_once_changes_no_row(tmp_path: Path, memory: str) -> None:
    """Nor does a driver that dies before the evaluation was made again, or one that died then."""
    whole, less = tmp_path / "whole", tmp_path / "less"
    run(open_state(whole), whole)
    state = open_state(less)
    first = run_out(state, less, memory)
    assert first.config["alone"] is None
    assert rows(less) == []
    again = state.next_request()
    assert again is not None
    assert again.config == first.config | {"alone": memory}
    state.lost(again.proposal, "its machine died")
    third = state.next_request()
    assert third is not None
    assert third.config == again.config
    state = open_state(less)  # by a driver that knows nothing of it
    assert run_out(state, less, memory).config == first.config
    run(state, less)
    found = rows(less)
    assert found.pop(0)["attempts"] == 2
    assert found == rows(whole)[1:]


@pytest.mark.parametrize(
    ("memory", "precision", "lower"),
    [
        ("device", "fp32", "GPU.* on its GPU: lower .*, or set train.precision to bf16 \\("),
        ("device", "bf16", "GPU.* on its GPU: lower .* or train.cache_mb \\(64\\) \\("),
        ("machine", "fp32", "machine.* on its machine: lower .* or train.cache_mb \\(64\\) \\("),
    ],
)
def test_memory_that_runs_out_twice_is_an_error_that_says_what_to_lower(
    tmp_path: Path, memory: str, precision: str, lower: str
) -> None:
    state = open_state(tmp_path, f"train.precision={precision}")
    for _ in range(2):
        assert run_out(state, tmp_path, memory).proposal.evaluation == 0
    (row,) = rows(tmp_path)
    assert (row["status"], row["attempts"]) == ("error", 2)
    assert re.search(lower, row["error"])
    assert "train.batch_size (16), data.image_size (32)" in row["error"]
    assert row["error"].endswith("(MemoryError: 2 GiB)")
    following = state.next_request()
    assert following is not None
    assert (following.proposal.evaluation, following.config["alone"]) == (1, None)


def test_an_evaluation_for_which_no_device_becomes_free_shares_one_again(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    run_out(state, tmp_path, "device")
    waiting = state.next_request()
    assert waiting is not None
    state.crowded_out(waiting.proposal)
    state.returned(waiting.proposal)
    assert run_out(state, tmp_path, "device").config["alone"] is None
    (row,) = rows(tmp_path)
    assert row["error"].startswith("ran out of the GPU's memory twice: lower ")


@pytest.mark.parametrize("lookahead", [0, 4])
@pytest.mark.parametrize("sweep", [True, False])
def test_three_errors_in_a_row_stop_the_search_and_resume_makes_them_again(
    tmp_path: Path, lookahead: int, sweep: bool
) -> None:
    options = f"search.lookahead={lookahead}", f"method.sweep={sweep}"
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(open_state(whole, *options), whole)
    state = open_state(broken, *options)
    run(state, broken, stop_after=8)

    def fail() -> None:
        request = state.next_request()
        assert request is not None
        measured = measure(request, broken, status="error", error="disk on fire")
        state.record(request.proposal, measured, "trial")
        state.tell(request.proposal.evaluation)

    fail()
    fail()
    with pytest.raises(SearchError, match=r"evaluations 8 to 10 all failed.*disk on fire"):
        fail()
    run(open_state(broken, *options), broken)
    assert rows(broken) == rows(whole)


def test_two_errors_in_a_row_do_not_stop_it(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    number = 0
    while not state.spent:
        request = state.next_request()
        assert request is not None
        number += 1
        status = "error" if number % 3 else "ok"
        state.record(request.proposal, measure(request, tmp_path, status), "trial")
        state.tell(request.proposal.evaluation)
    assert len(rows(tmp_path)) == 30


def test_a_worker_that_could_not_write_stops_the_search(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    request = state.next_request()
    assert request is not None
    measured = measure(request, tmp_path) | {"storage_error": "No space left on device"}
    with pytest.raises(SearchError, match="could not write predictions or weights: No space left"):
        state.record(request.proposal, measured, "trial")
    assert rows(tmp_path) == []


def test_a_second_result_of_one_evaluation_changes_nothing(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    request = state.next_request()
    assert request is not None
    measured = measure(request, tmp_path)
    state.record(request.proposal, measured, "trial")
    before = rows(tmp_path)
    state.record(request.proposal, measured | {"row": {"status": "diverged"}}, "late")
    assert rows(tmp_path) == before


def test_an_edited_ledger_is_refused(tmp_path: Path) -> None:
    run(open_state(tmp_path), tmp_path, stop_after=15)
    path = tmp_path / "ledger" / "000012.json"
    path.write_text(path.read_text().replace('"stem": 0.', '"stem": 0.9'))
    with pytest.raises(UserError, match=r"000012.json is not as it was written \(edited"):
        open_state(tmp_path)


@pytest.mark.parametrize(("sweep", "number"), [("false", 0), ("true", 10)])
def test_rows_of_another_search_are_refused(tmp_path: Path, sweep: str, number: int) -> None:
    """The sweep is the same for every seed."""
    option = f"method.sweep={sweep}"
    run(open_state(tmp_path, option, "search.seed=1"), tmp_path, stop_after=number + 3)
    with pytest.raises(UserError, match=rf"cannot resume .*evaluation {number} is recorded with"):
        open_state(tmp_path, option)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.sample(8)
@pytest.mark.parametrize("encoding", ["revo-continuous", "revo-binary", "random"])
@pytest.mark.parametrize("damage", list(DAMAGES))
@pytest.mark.parametrize("lookahead", [0, 4])
def test_rows_that_a_disk_lost_are_made_again_and_no_others(
    tmp_path: Path, encoding: str, damage: str, lookahead: int
) -> None:
    options = (f"method.name={encoding}", f"search.lookahead={lookahead}")
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    run(open_state(whole, *options), whole)
    run(open_state(damaged, *options), damaged, stop_after=27)
    rng = random.Random(f"{encoding} {damage} {lookahead}")
    lost = rng.sample(sorted((damaged / "ledger").glob("*.json")), 4)
    trained = sum(json.loads(path.read_bytes())["status"] != "cached" for path in lost)
    left = len(open_state(damaged, *options).ledger)
    for path in lost:
        DAMAGES[damage](path)
    state = open_state(damaged, *options)
    assert len(state.ledger) == left - 4
    made = run(state, damaged, workers=3)
    assert made == trained + sum(row["status"] != "cached" for row in rows(whole)[left:])
    assert rows(damaged) == rows(whole)
    assert state.best == open_state(whole, *options).best
    aside = list((damaged / "ledger").glob("*.torn"))
    assert len(aside) == (0 if damage == "gone" else 4)


@pytest.mark.parametrize(("sweep", "loss"), [("false", 99.0), ("true", 0.0)])
def test_a_row_made_again_with_another_value_is_told_from_those_behind_it(
    tmp_path: Path, sweep: str, loss: float
) -> None:
    """Those behind a sweep depend on its best alone."""
    option = f"method.sweep={sweep}"
    run(open_state(tmp_path, option), tmp_path, stop_after=15)
    (tmp_path / "ledger" / "000003.json").unlink()
    state = open_state(tmp_path, option)
    request = state.next_request()
    assert request is not None
    assert request.proposal is not None
    state.record(request.proposal, measure(request, tmp_path, val_loss=loss), "trial")
    with pytest.raises(SearchError, match=r"cannot resume .*evaluation 10 is recorded"):
        state.tell(3)


def test_no_row_is_written_once_another_driver_took_over(tmp_path: Path) -> None:
    def taken_over() -> None:
        raise SearchError("another driver took over")

    state = open_state(tmp_path, "search.evaluations=12", guard=taken_over)
    request = state.next_request()
    assert request is not None
    assert request.proposal is not None
    with pytest.raises(SearchError, match="took over"):
        state.record(request.proposal, measure(request, tmp_path), "trial")
    assert rows(tmp_path) == []


def test_listeners_hear_of_each_row_once(tmp_path: Path) -> None:
    heard: list[Evaluation] = []
    state = open_state(tmp_path, "search.evaluations=12", listeners=(heard.append,))
    run(state, tmp_path)
    assert heard == list(state.ledger)


def spent(folder: Path, *overrides: str) -> SearchState:
    """A search whose budget is spent, and whose forms are not made."""
    state = open_state(folder, *overrides)
    run(state, folder, stop_after=30)
    assert state.spent
    return state


def works(state: SearchState) -> list[Request]:
    """All the work that a search has now."""
    found = []
    while (request := state.next_request()) is not None:
        found.append(request)
    return found


def test_each_form_is_tested_once_and_again_if_a_worker_died(tmp_path: Path) -> None:
    state = spent(tmp_path, "search.keep=30")
    for cause in ("killed", None, "killed"):
        found = works(state)
        names = [request.config["name"] for request in found]
        assert names == ["test best", "test plain", "test ensemble", "soup greedy"][-len(names) :]
        for request in found[:-1]:
            state.forms.lost(request.config, None)
        state.forms.lost(found[-1].config, cause)
    assert finish(state) == ["test best", "test plain", "test ensemble", "soup greedy", "test soup"]
    assert state.next_request() is None
    written = write_result(state)
    assert [*written.forms] == ["best", "ensemble", "soup", "plain"]
    assert written.test_looks == 4


@pytest.mark.parametrize("result", ["best", "ensemble", "soup"])
def test_only_a_soup_that_is_the_result_is_cross_fitted(tmp_path: Path, result: str) -> None:
    state = spent(tmp_path, "search.keep=30", f"search.result={result}")
    (soup,) = (request.config for request in works(state) if request.config["make"] == "soup")
    assert soup["cross_fit"] == (result == "soup")


def test_a_form_that_workers_die_of_ends_the_search_resumable(tmp_path: Path) -> None:
    state = spent(tmp_path)
    for _ in range(MAX_DEATHS - 1):
        state.forms.lost(works(state)[0].config, "killed")
    with pytest.raises(SearchError, match="cannot make or test the result: killed"):
        state.forms.lost(works(state)[0].config, "killed")
    again = open_state(tmp_path)
    finish(again)
    assert again.done


def test_a_form_that_cannot_be_tested_says_why(tmp_path: Path) -> None:
    state = spent(tmp_path)
    request = state.next_request()
    with pytest.raises(SearchError, match="cannot make or test the result: OSError: gone"):
        state.forms.answered(request.config, {"error": "OSError: gone"})


@given(
    lost=st.sets(st.sampled_from(["best", "plain", "models", "ensemble", "soup", "predictions"])),
    share=st.sampled_from([0.5, 1.0]),
    made=st.integers(0, 4),
    seed=st.integers(0, 999),
)
@examples(10)
def test_weights_that_were_lost_are_trained_again_before_the_tests(
    lost: set[str], share: float, made: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, broken = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("broken")
    few = ("search.keep=2",)  # so that the ensemble has members outside
    finish(spent(whole, *few))
    state = spent(broken, *few)
    rng = random.Random(seed)
    for _ in range(made):  # the driver dies in the middle of its end
        request = state.next_request()
        assert request is not None
        state.forms.answered(request.config, answer(request))
    for folder in lost:
        for path in (broken / folder).glob("*"):
            if rng.random() < share and (folder != "predictions" or "test-" in path.name):
                path.unlink()
    finish(open_state(broken, *few))
    again, first = files(broken), files(whole)
    assert again == first


def test_an_ensemble_is_a_function_of_the_ledger(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "four"]
    for folder, workers in zip(folders, (1, 4), strict=True):
        run(open_state(folder), folder, workers)
    found = [json.loads((folder / "ensemble" / "config.json").read_text()) for folder in folders]
    assert found[0]["members"] == found[1]["members"]
    assert len(found[0]["members"]) > 1


@pytest.mark.parametrize("keep", [1, 3, 50])
def test_the_kept_weights_are_those_of_the_best_few(tmp_path: Path, keep: int) -> None:
    state = open_state(tmp_path, f"search.keep={keep}")
    run(state, tmp_path, workers=3)
    best = best_rows(state.ledger, state.objective, keep)
    assert len(best) == min(keep, 30)
    assert models(tmp_path) == {row.evaluation for row in best}
    outside = {int(path.stem) for path in (tmp_path / "ensemble").glob("*.safetensors")}
    assert outside == set(state.forms.members["ensemble"]) - models(tmp_path)
    assert (tmp_path / "soup").exists() == (keep > 1)


def test_without_predictions_there_is_no_ensemble(tmp_path: Path) -> None:
    state = open_state(tmp_path, "search.predictions=none")
    while not state.spent:
        request = state.next_request()
        assert request.config["predictions"] == "none"
        measured = measure(request, tmp_path)
        state.record(request.proposal, measured, "trial")
        state.tell(request.proposal.evaluation)
    finish(state)
    forms = write_result(state).forms
    assert [*forms] == ["best", "soup", "plain"]
    assert forms["best"].cross_fitted is None


def test_a_row_answered_by_a_later_one_is_not_the_best_of_the_result(tmp_path: Path) -> None:
    """Errors that are made again may be answered by rows behind them, which have the weights."""
    state = open_state(tmp_path)
    run(state, tmp_path)
    best = state.best
    answered = best.model_copy(
        update={"status": "cached", "evaluation": -1, "source": best.evaluation}
    )
    result = SearchResult.of_rows("x", "x", [answered, *state.ledger], state.objective)
    assert result.best["evaluation"] == best.evaluation


def test_files_that_a_killed_drivers_worker_wrote_late_do_not_stay(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    run(state, tmp_path)
    before = files(tmp_path)
    state.run.models.write(WEIGHTS, 99)  # after this driver had tidied up
    state.run.predictions.write(99, [[0.5]], "float32")
    write_result(state)
    assert files(tmp_path) == before


def test_the_row_of_a_lost_evaluation_says_when_it_was_given_up(tmp_path: Path) -> None:
    state, before = open_state(tmp_path), time.time()
    for _ in range(MAX_DEATHS):
        request = state.next_request()
        assert request is not None
        assert request.proposal is not None
        state.lost(request.proposal, "a node died")
    row = state.ledger[0]
    assert before <= row.started_at == row.finished_at <= time.time()


def test_rows_without_predictions_make_no_ensemble_of_the_others(tmp_path: Path) -> None:
    """Those that an earlier version made, or whose predictions were deleted."""
    older, spoilt = tmp_path / "older", tmp_path / "spoilt"
    state = open_state(older)
    for number in range(30):
        request = state.next_request()
        assert request is not None
        measured = measure(request, older)
        if number < 12:
            measured["row"]["predictions"] = None
        state.record(request.proposal, measured, "trial")
        state.tell(number)
    finish(state)
    state = spent(spoilt)
    (spoilt / "predictions" / "000007.npz").unlink()
    again = open_state(spoilt)
    finish(again)
    said = ("12 of 30 evaluations have no stored predictions", "000007.npz is missing")
    for state, reason in zip((open_state(older), again), said, strict=True):
        finish(state)
        written = write_result(state)
        assert (written.form, [*written.forms]) == ("best", ["best", "soup", "plain"])
        assert written.forms["best"].cross_fitted is None
        (note,) = written.notes
        assert note.startswith("no ensemble was made: ")
        assert reason in note


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"members": {"../../x": 1}}'])
def test_a_spoilt_soup_is_made_again(tmp_path: Path, name: str, content: bytes | None) -> None:
    state = open_state(tmp_path)
    run(state, tmp_path)
    whole = files(tmp_path)
    write_result(state)
    path = tmp_path / "soup" / name
    path.unlink() if content is None else path.write_bytes(content)
    again = open_state(tmp_path)
    assert finished_result(again) is None
    assert finish(again) == ["soup greedy"]
    assert files(tmp_path) == whole
    assert write_result(again).test_looks == 5 - 1  # no form was tested again


@pytest.mark.parametrize("content", [b"", b"PK", None])
def test_a_spoilt_test_is_made_again_and_counted(tmp_path: Path, content: bytes | None) -> None:
    state = open_state(tmp_path)
    run(state, tmp_path)
    whole = write_result(state)
    path = tmp_path / "predictions" / "test-ensemble.npz"
    path.unlink() if content is None else path.write_bytes(content)
    again = open_state(tmp_path)
    assert finish(again) == ["test ensemble"]
    assert write_result(again).test_looks == whole.test_looks + 1
