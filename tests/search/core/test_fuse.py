"""Evaluations that train together, driven by hand: who trains with whom, whatever happens."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from revo_ray.errors import SearchError, UserError
from revo_ray.rundir.best_model import MODEL, candidate_path, weights_owner
from revo_ray.rundir.recorded_config import check_record, write_record
from revo_ray.search.core.prepare import resolve
from revo_ray.search.core.state import Request, SearchState
from revo_ray.search.ray import fuse
from revo_ray.search.ray.fuse import CHOICES, best_choice, choices_for, settle_fuse
from revo_ray.search.ray.resources import Footprint
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage
from tests.search.core.test_state import TEST, loss_of, open_state, rows, weight_files

FUSED = "resources.fuse=3"
BINARY = ("method.name=revo-binary", "method.global_lr=0.01", "search.evaluations=60")


def numbers(request: Request) -> list[int]:
    """Who trains together."""
    if "together" in request.config:
        return [member["evaluation"] for member in request.config["together"]]
    return [request.config["evaluation"]]


def measure(request: Request, folder: Path, status: str = "ok", **extra: Any) -> dict[str, Any]:
    """What a worker reports; the losses tell by their last digits who trained together."""
    config = request.config
    members = config.get("together") or [config | {"wanted": True}]
    rounding = 1e-9 * random.Random(repr(numbers(request))).random()
    results, best = [], config["best"]
    for member in members:
        alone = Request(None, member)
        loss = loss_of(alone) + rounding if status == "ok" else None
        number, wrote = member["evaluation"], False
        if loss is not None and (best is None or (loss, number) < tuple(best)):
            best, wrote = (loss, number), member["wanted"]
        if wrote:
            content = save({"w": torch.zeros(1)}, {"evaluation": str(number)})
            Storage(str(folder)).write(candidate_path(number), content)
        row = {"status": status, "val_loss": loss, "epochs": 2, "images": 8} | extra
        result = {"row": row, "weights": wrote, "cold": False, "whole": True}
        if member["wanted"]:
            results.append(result | {"evaluation": number})
    return {"rows": results} if request.window else results[0]


def run(state: SearchState, folder: Path, workers: int = 1, seed: int = 0, rows: int = 10**6):
    """Work with workers that end in any order and die; the groups, in the order they ended in.

    The driver dies after so many rows, perhaps in the midst of a window.
    """
    rng, busy, groups = random.Random(seed), [], []
    while not state.done:
        while len(busy) < workers and (request := state.next_request()) is not None:
            busy.append(request)
        request = busy.pop(rng.randrange(len(busy)))
        if request.proposal is None:
            state.tested({"test": TEST})
            continue
        fate = rng.random() if workers > 1 else 1.0
        if fate < 0.1:
            state.lost_all(request, "node gone")
            continue
        if fate < 0.2:
            state.returned_all(request)
            continue
        measured = measure(request, folder)
        if len(request.wanted) >= rows:
            part = replace(request, window=request.window[:rows])
            state.record_all(part, measured, "trial")
            return groups
        state.record_all(request, measured, "trial")
        state.settle_all(request)
        rows -= len(request.wanted)
        groups.append(numbers(request))
    return groups


def facts(folder: Path) -> list[dict[str, Any]]:
    return [row | {"attempts": 1} for row in rows(folder)]


def test_windows_are_cut_at_generations_and_at_the_budgets_end(tmp_path: Path) -> None:
    state = open_state(tmp_path, FUSED, "search.evaluations=22", "search.lookahead=5")
    first = [state.next_request() for _ in range(5)]
    assert [numbers(request) for request in first] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
        [9],
        [10, 11, 12],  # of the five that are sampled early: the window of 13 is not whole
    ]
    assert state.next_request() is None
    assert "together" not in first[3].config  # as if nothing were fused
    for request in reversed(first):
        state.record_all(request, measure(request, tmp_path), "trial")
        state.settle_all(request)
    rest = run(state, tmp_path)
    assert rest == [[13, 14, 15], [16, 17, 18], [19], [20, 21]]


@given(
    workers=st.integers(2, 5),
    seed=st.integers(0, 999),
    cuts=st.lists(st.integers(1, 12), max_size=3),
    options=st.sampled_from([(), ("search.lookahead=4",), BINARY, ("method.name=random",)]),
)
@settings(max_examples=25, deadline=None)
def test_no_disturbance_changes_a_number(
    workers: int,
    seed: int,
    cuts: list[int],
    options: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Orders of ending, deaths of workers, and drivers that die in the midst of a window."""
    whole, broken = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("broken")
    run(open_state(whole, FUSED, *options), whole)
    for cut in cuts:
        run(open_state(broken, FUSED, *options), broken, rows=cut)
    with suppress(SearchError):  # a window that was lost three times is three errors in a row
        run(open_state(broken, FUSED, *options), broken, workers, seed)
    run(open_state(broken, FUSED, *options), broken)
    if any(row["status"] == "error" for row in rows(broken)):
        return
    assert facts(broken) == facts(whole)
    assert weight_files(broken) == [broken / MODEL]
    owners = [weights_owner(Storage(str(folder)), MODEL) for folder in (broken, whole)]
    assert owners[0] == owners[1]


def test_rows_that_were_lost_are_made_again_by_their_whole_window(tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    for folder in (whole, damaged):
        run(open_state(folder, FUSED), folder)
    for number in (4, 17):
        (damaged / "ledger" / f"{number:06d}.json").unlink()
    kept = {path: path.read_bytes() for path in (damaged / "ledger").glob("*.json")}
    state = open_state(damaged, FUSED)
    assert run(state, damaged) == [[3, 4, 5], [16, 17, 18]]
    assert facts(damaged) == facts(whole)
    assert {path: path.read_bytes() for path in kept} == kept


def test_duplicates_train_with_nobody(tmp_path: Path) -> None:
    groups = run(open_state(tmp_path, FUSED, *BINARY), tmp_path)
    table = rows(tmp_path)
    trained = sorted(number for group in groups for number in group)
    assert trained == [row["evaluation"] for row in table if row["status"] != "cached"]
    assert len(table) == 60
    assert len(trained) <= 4  # two bits have four values
    seen: list[Any] = []
    for row in table:
        assert (row["status"] == "cached") == (row["sample"] in seen)
        seen.append(row["sample"])


def test_what_answers_a_duplicate_may_fail_and_then_it_trains_alone(tmp_path: Path) -> None:
    options = (*BINARY, "resources.fuse=2")
    run(open_state(tmp_path / "whole", *options), tmp_path / "whole")
    table = rows(tmp_path / "whole")
    source = next(row["source"] for row in table if row["status"] == "cached")
    folder = tmp_path / "failing"
    state = open_state(folder, *options)
    groups = []
    while not state.done:
        request = state.next_request()
        assert request is not None
        if request.proposal is None:
            state.tested({"test": TEST})
            continue
        fails = source in numbers(request)
        extra = {"status": "error", "error": "bad luck"} if fails else {}
        state.record_all(request, measure(request, folder, **extra), "trial")
        state.settle_all(request)
        groups.append(numbers(request))
    again = rows(folder)
    failed = [row["evaluation"] for row in again if row["status"] == "error"]
    assert source in failed
    alone = [row["evaluation"] for row in again if row["status"] == "ok"]
    late = [n for n in alone if any(again[f]["sample"] == again[n]["sample"] for f in failed)]
    assert late
    assert all([number] in groups for number in late)


def test_a_death_counts_for_every_evaluation_of_the_window(tmp_path: Path) -> None:
    options = ("resources.fuse=2",)
    whole, state = tmp_path / "whole", open_state(tmp_path / "broken", *options)
    run(open_state(whole, *options), whole)
    for count in range(3):
        request = state.next_request()
        assert request is not None
        assert numbers(request) == [0, 1]
        assert [row["status"] for row in rows(tmp_path / "broken")] == []
        measure(request, tmp_path / "broken")  # they died after their weights were written
        state.lost_all(request, f"death {count}")
    table = rows(tmp_path / "broken")
    assert [(row["status"], row["attempts"]) for row in table] == [("error", 3)] * 2
    assert table[1]["error"] == "lost 3 times: death 2"
    assert weight_files(tmp_path / "broken") == []
    request = state.next_request()
    assert request is not None
    assert numbers(request) == [2, 3]


def test_a_failed_window_of_three_stops_the_search_and_resume_makes_it_again(
    tmp_path: Path,
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(open_state(whole, FUSED), whole)
    state = open_state(broken, FUSED)
    run(state, broken, rows=7)  # the first of the window of 6, 7 and 8
    with pytest.raises(SearchError, match="evaluations 7 to 9 all failed"):
        run_failing(open_state(broken, FUSED), broken)
    run(open_state(broken, FUSED), broken)
    assert facts(broken) == facts(whole)


def run_failing(state: SearchState, folder: Path) -> None:
    while (request := state.next_request()) is not None:
        measured = measure(request, folder, "error", error="disk on fire")
        state.record_all(request, measured, "trial")
        state.settle_all(request)


def test_lost_weights_are_made_again_by_the_whole_window(tmp_path: Path) -> None:
    run(open_state(tmp_path, FUSED, "search.evaluations=19"), tmp_path)
    (tmp_path / MODEL).unlink()
    state = open_state(tmp_path, FUSED, "search.evaluations=19")
    request = state.next_request()
    assert request is not None
    assert state.best is not None
    assert request.proposal is None
    assert state.best.evaluation in numbers(request)
    assert len(numbers(request)) == 3


@pytest.mark.parametrize(
    ("method", "says"), [("auto-rgn", "changes rates"), ("full", "stops evaluations early")]
)
def test_what_cannot_be_fused_is_refused(method: str, says: str) -> None:
    overrides = [f"method.name={method}"]
    if method == "auto-rgn":
        overrides.append("method.halving=none")
    resolve(SearchConfig.load(None, overrides))
    with pytest.raises(UserError, match=f"resources.fuse: {method} {says}"):
        resolve(SearchConfig.load(None, [*overrides, "resources.fuse=2"]))


@pytest.mark.parametrize(
    ("rates", "size"),
    [
        ([100, 90, 80, 70], 1),  # a CPU
        ([100, 105, 150, 160], 4),
        ([100, 180, 300, 500], 8),
        ([100, 180], 2),  # no memory for 4
        ([], 1),
    ],
)
def test_a_larger_window_must_pay(rates: list[float], size: int) -> None:
    assert best_choice(CHOICES, rates) == size


@pytest.mark.parametrize(
    ("options", "gpus", "slots", "choices"),
    [
        ((), 0.0, 2, [1]),
        ((), 1.0, 1, [1, 2, 4, 8]),
        ((), 1.0, 2, [1, 2, 4]),
        ((), 1.0, 16, [1]),
        (("resources.device=cpu",), 1.0, 1, [1]),
        (("method.name=full",), 1.0, 1, [1]),
    ],
)
def test_what_is_worth_a_measurement(
    tmp_path: Path, options: tuple[str, ...], gpus: float, slots: int, choices: list[int]
) -> None:
    state = open_state(tmp_path, "resources.fuse=auto", *options)
    assert choices_for(state, Footprint(1, gpus), slots) == choices


def test_what_was_measured_is_recorded_and_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(task: Any, choices: Any, footprint: Any) -> list[float]:
        calls.append(choices)
        return [100.0, 150.0]

    calls: list[Any] = []
    monkeypatch.setattr(fuse, "measure_on_worker", measured)
    states = [open_state(tmp_path / name, "resources.fuse=auto") for name in ("a", "b")]
    for state in states:
        write_record(state.storage, state.config, {})
    settle_fuse(states, Footprint(1, 1.0), 1)
    assert [state.fuse for state in states] == [2, 2]
    assert calls == [[1, 2, 4, 8]]  # one task
    run(states[0], tmp_path / "a", rows=5)
    again = open_state(tmp_path / "a", "resources.fuse=auto")
    check_record(again.storage, again.config, {})
    settle_fuse([again], Footprint(1, 0.0), 1)
    assert again.fuse == 2
    request = again.next_request()
    assert request is not None
    assert numbers(request) == [4, 5]
    write_record(again.storage, again.config, {})
    with pytest.raises(UserError, match="how many evaluations train together"):
        settle_fuse([open_state(tmp_path / "a", "resources.fuse=auto")], Footprint(1, 1.0), 1)
