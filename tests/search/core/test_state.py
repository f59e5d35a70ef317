"""One search driven by hand: budget, order of writing, failures and resumption, without Ray."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from revo_ray.errors import SearchError, UserError
from revo_ray.methods import make_method
from revo_ray.rundir.best_model import MODEL, candidate_path
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.ledger import Ledger
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.requests import Request
from revo_ray.search.core.retries import MAX_DEATHS
from revo_ray.search.core.state import SearchState
from revo_ray.search.core.summary import write_result
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage
from tests.properties import examples


@dataclass(frozen=True)
class FakeUnit:
    """A unit of a network that nobody needs to build."""

    name: str
    head: bool = False


UNITS = [FakeUnit("stem"), FakeUnit("body"), FakeUnit("head", head=True)]


def open_state(folder: Path | Storage, *overrides: str) -> SearchState:
    config = SearchConfig.load(None, ["search.evaluations=30", *overrides])
    run = RunDirectory(folder if isinstance(folder, Storage) else str(folder))
    return SearchState(config, run, make_method(config.method), list(UNITS), {"t": 1}, {"m": "x"})


TEST = {"loss": 0.5, "accuracy": 0.9, "auc": None}


def loss_of(request: Request) -> float:
    return sum((rate - 0.01) ** 2 for rate in request.config["plan"]["unit_lrs"])


def measure(request: Request, folder: Path, status: str = "ok", **extra: Any) -> dict[str, Any]:
    """Report as a worker does, and write its weights, as `trial.evaluate` does."""
    loss = loss_of(request) if status == "ok" else None
    best = request.config["best"]
    number = request.config["evaluation"]
    wrote = loss is not None and (best is None or (loss, loss, number) < tuple(best))
    if wrote:
        content = save({"w": torch.zeros(1)}, {"evaluation": str(number)})
        Storage(str(folder)).write(candidate_path(number), content)
    row = {"status": status, "val_loss": loss, "epochs": 2, "images": 8, "seconds": 0.5} | extra
    return {"row": row, "weights": wrote, "cold": False, "whole": True}


def run(state: SearchState, folder: Path, workers: int = 1, seed: int = 0, stop_after: int = 99):
    """Work on a state with workers that end in random order; returns how many rows were made."""
    rng, busy, made = random.Random(seed), [], 0
    while not state.done and made < stop_after:
        while len(busy) < workers and (request := state.next_request()) is not None:
            busy.append(request)
        if not busy:
            continue
        request = busy.pop(rng.randrange(len(busy)))
        if request.proposal is None:
            assert state.spent
            assert request.config["test"] == state.best.evaluation
            state.tested({"test": TEST})
            continue
        state.record(request.proposal, measure(request, folder), "trial")
        made += 1
        assert len(weight_files(folder)) <= len(busy) + 1
        state.tell(request.proposal.evaluation)
    return made


def weight_files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.safetensors"))


def rows(folder: Path) -> list[dict[str, Any]]:
    moments = {"started_at", "finished_at", "trial_id"}
    ledger = Ledger.load(Storage(str(folder)))
    return [{k: v for k, v in row.model_dump().items() if k not in moments} for row in ledger]


def test_the_budget_is_exact_and_best_is_the_best(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    assert run(state, tmp_path, workers=4) == 30
    table = rows(tmp_path)
    assert [row["evaluation"] for row in table] == list(range(30))
    best = min(table, key=lambda row: row["val_loss"])
    assert weight_files(tmp_path) == [tmp_path / MODEL]
    assert RunDirectory(str(tmp_path)).best.owner == best["evaluation"]
    card = json.loads((tmp_path / "best" / "config.json").read_text())
    assert card["evaluation"] == best["evaluation"]
    plan = json.loads((tmp_path / "best" / "plan.json").read_text())
    assert plan["unit_lrs"] == best["unit_lrs"]


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
    assert RunDirectory(str(broken)).best.owner == RunDirectory(str(whole)).best.owner


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


@pytest.mark.parametrize("crash", ["weights", "row", "weights moved"])
def test_a_crash_between_two_writes_loses_nothing(tmp_path: Path, crash: str) -> None:
    """The order is weights, row, move; a driver may die after any of them."""
    whole = tmp_path / "whole"
    run(open_state(whole), whole)
    broken = tmp_path / "broken"
    state = open_state(broken)
    run(state, broken, stop_after=5)
    while True:
        request = state.next_request()
        assert request is not None
        measured = measure(request, broken)
        if measured["weights"]:
            break
        state.record(request.proposal, measured, "trial")
        state.tell(request.proposal.evaluation)
    number = request.proposal.evaluation
    if crash != "weights":
        row = state._row(request.proposal, **measured["row"])
        state.ledger.append(row)
    if crash == "weights moved":
        state.run.storage.move(candidate_path(number), MODEL)
    run(open_state(broken), broken)
    assert rows(broken) == rows(whole)
    assert weight_files(broken) == [broken / MODEL]
    assert RunDirectory(str(broken)).best.owner == RunDirectory(str(whole)).best.owner


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
    assert weight_files(tmp_path) == []
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
    with pytest.raises(SearchError, match="could not write weights: No space left"):
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

    config = SearchConfig.load(None, ["search.evaluations=12"])
    storage, method = Storage(str(tmp_path)), make_method(config.method)
    state = SearchState(
        config, RunDirectory(storage), method, list(UNITS), {}, {}, guard=taken_over
    )
    request = state.next_request()
    assert request is not None
    assert request.proposal is not None
    with pytest.raises(SearchError, match="took over"):
        state.record(request.proposal, measure(request, tmp_path), "trial")
    assert rows(tmp_path) == []


def test_listeners_hear_of_each_row_once(tmp_path: Path) -> None:
    heard: list[Evaluation] = []
    config = SearchConfig.load(None, ["search.evaluations=12"])
    method = make_method(config.method)
    storage = Storage(str(tmp_path))
    state = SearchState(
        config, RunDirectory(storage), method, list(UNITS), {}, {}, listeners=(heard.append,)
    )
    run(state, tmp_path)
    assert heard == list(state.ledger)


def test_the_best_model_is_tested_once_and_again_where_a_worker_died(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    for _ in range(30):
        request = state.next_request()
        assert request is not None
        assert request.proposal is not None
        state.record(request.proposal, measure(request, tmp_path), "trial")
        state.tell(request.proposal.evaluation)
    for cause in ("killed", None, "killed"):
        request = state.next_request()
        assert request is not None
        assert request.proposal is None
        assert request.config["retrain"] is None
        assert state.next_request() is None
        assert not state.done
        state.final_test.lost(cause)
    assert state.next_request() is not None
    with pytest.raises(SearchError, match="cannot test the best model: killed"):
        state.final_test.lost("killed")
    state.tested({"test": TEST})
    assert state.done
    assert state.next_request() is None

    (tmp_path / "best" / "model.safetensors").unlink()
    again = open_state(tmp_path).next_request()
    assert again is not None
    assert again.config["retrain"] == state.best.whole_plan


def test_a_row_answered_by_a_later_one_is_not_the_best_of_the_result(tmp_path: Path) -> None:
    """Errors that are made again may be answered by rows behind them, which have the weights."""
    state = open_state(tmp_path)
    run(state, tmp_path)
    best = state.best
    twin = best.model_copy(update={"status": "cached", "evaluation": -1, "source": best.evaluation})
    result = SearchResult.of_rows("x", "x", [twin, *state.ledger], state.objective)
    assert result.best["evaluation"] == best.evaluation


def test_the_test_counts_when_the_best_model_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = open_state(tmp_path)
    run(state, tmp_path, stop_after=30)
    assert state.next_request().proposal is None
    with monkeypatch.context() as full:
        full.setattr(state.run.best, "accept", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            state.tested({"test": TEST})
    assert not state.done
    state.tested({"test": TEST})
    assert state.done


def test_weights_that_a_killed_drivers_worker_wrote_late_do_not_stay(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    run(state, tmp_path)
    late = save({"w": torch.zeros(1)}, {"evaluation": "7"})
    state.run.storage.write(candidate_path(7), late)  # after this driver had tidied up
    write_result(state)
    assert [path.name for path in weight_files(tmp_path)] == ["model.safetensors"]


def test_the_row_of_a_lost_evaluation_says_when_it_was_given_up(tmp_path: Path) -> None:
    state, before = open_state(tmp_path), time.time()
    for _ in range(MAX_DEATHS):
        request = state.next_request()
        assert request is not None
        assert request.proposal is not None
        state.lost(request.proposal, "a node died")
    row = state.ledger[0]
    assert before <= row.started_at == row.finished_at <= time.time()
