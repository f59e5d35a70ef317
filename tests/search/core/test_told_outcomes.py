"""The proposals learn the same of a row when it is written and when it is read on resume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.random import Draws
from revo_ray.errors import SearchError
from revo_ray.evolve.proposals import Outcome, Proposals
from revo_ray.evolve.space import Categorical, Space
from revo_ray.finetune.plan import Plan
from revo_ray.methods import Method
from revo_ray.objective import METRICS
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.state import SearchState
from revo_ray.settings.schema import SearchConfig
from tests.properties import examples
from tests.search.core.by_hand import UNITS

ROWS = 12


class Heard(Proposals[Any]):
    """Proposals that keep what they are told, or read on resume."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.heard: dict[int, Outcome] = {}

    def tell(self, evaluation: int, outcome: Outcome) -> bool:
        self.heard[evaluation] = outcome
        return super().tell(evaluation, outcome)

    def replay(self, rows: Mapping[int, tuple[Any, Outcome]]) -> None:
        self.heard = {evaluation: outcome for evaluation, (_, outcome) in rows.items()}
        super().replay(rows)


class Few(Method):
    """Draws from six samples, so that many are answered from the ledger."""

    name = "few"

    def space(self, units: Any) -> Space:
        return Space({"x": Categorical((1, 2, 3)), "y": Categorical((0, 1))})

    def plan(self, sample: Any, units: Any) -> Plan:
        return Plan((float(sample["x"]),) * len(units), float(sample["y"]))

    def searcher(self, space: Space, search: Any) -> Heard:
        return Heard(Draws(space, search.seed), space, budget=ROWS, reuse=True)


def open_search(folder: Path, objective: str) -> tuple[SearchState, Heard]:
    config = SearchConfig.load(None, [f"search.objective={objective}"])
    run = RunDirectory(str(folder))
    state = SearchState(config, run, Few(Few.Options()), list(UNITS), {}, {})
    assert isinstance(state.proposals, Heard)
    return state, state.proposals


FINITE = [0.0, -0.0, 5e-324, 1e-310, 0.25, 1.0, 1e6, 1e30, 1.7e308]
SCORES = st.fixed_dictionaries(
    {"val_loss": st.sampled_from([None, *FINITE])}
    | {f"val_{name}": st.sampled_from([None, 0.0, 0.1, 1.0]) for name in METRICS if name != "loss"}
)
ENDS = st.sampled_from(["ok", "stopped", "diverged", "error", "died"])


@given(
    objective=st.sampled_from(list(METRICS)),
    ends=st.lists(st.tuples(ENDS, SCORES), min_size=6, max_size=6),
)
@examples(40)
def test_each_status_is_told_as_what_it_is_and_again_on_resume(
    objective: str, ends: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, metric = tmp_path_factory.mktemp("run"), METRICS[objective]
    state, proposals = open_search(folder, objective)
    while (request := state.next_request()) is not None and request.proposal is not None:
        number, sample = request.proposal.evaluation, request.proposal.sample
        status, scores = ends[2 * sample["x"] + sample["y"] - 2]
        try:
            if status == "died":
                for _ in range(3):
                    state.lost(request.proposal, "killed")
                continue
            if status == "diverged":
                scores = {}
            row = {"status": "ok" if status == "stopped" else status, "epochs": 1} | scores
            measured = {"row": row, "cold": False, "whole": status != "stopped"}
            state.record(request.proposal, measured, "trial")
            assert state.ledger[number].status == status
            state.tell(number)
        except SearchError:  # three errors in a row
            break
    heard = proposals.heard
    for row in state.ledger:
        if row.evaluation not in heard:
            continue  # the error that stopped the search
        told, value = heard[row.evaluation], metric.value(row.scores)
        if row.status in ("diverged", "error") or value is None:
            assert told.failed
        elif objective == "loss":
            assert repr(told.value) == repr(value)  # an early stop counts with its last scores
        else:
            assert told.value == 1 - value
        assert told.reusable == (row.status in ("ok", "stopped", "diverged"))
        if row.source is not None:
            assert repr(told.value) == repr(heard[row.source].value)
            assert row.scores == state.ledger[row.source].scores
    again, replayed = open_search(folder, objective)
    kept = {row.evaluation for row in again.ledger}
    assert {n: repr(replayed.heard[n]) for n in kept} == {n: repr(heard[n]) for n in kept}
