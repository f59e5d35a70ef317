"""Machines that join and leave while a search runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from revo_ray.rundir.evaluation import Evaluation
from revo_ray.search.core.summary import write_result
from revo_ray.search.ray.experiment import run_experiment
from revo_ray.search.ray.resources import TrialResources
from tests.cluster.cheap import Waiting, add_machine, machines, most_at_once, waiting_search


@pytest.mark.nightly
def test_a_machine_joins_and_leaves(tmp_path: Path) -> None:
    # The fifth goes on only when two more have begun, which takes the other machine.
    state = waiting_search(tmp_path, evaluations=24, seconds=0.3, alone=4, together=7)
    needs = TrialResources(1, 0)
    added: list[Any] = []
    left: list[float] = []

    def on_row(row: Evaluation) -> None:
        homes = [each.node for each in state.ledger]
        if len(homes) == 3:
            added.append(add_machine(cluster, num_cpus=2))
        elif not left and len(homes) - homes.count(homes[0]) == 4:
            cluster.remove_node(added[0], allow_graceful=False)
            left.append(time.time())

    state.listeners.append(on_row)
    with machines({"num_cpus": 1}) as cluster:
        run_experiment(
            [state],
            needs,
            None,
            write_result,
            ray_stays=True,
            trial=Waiting,
        )
        deadline = time.monotonic() + 30
        while needs.slots() > 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert needs.slots() == 1

    rows = list(state.ledger)
    assert [row.status for row in rows] == ["ok"] * 24
    in_order = sorted(rows, key=lambda row: row.started_at)
    first, second = dict.fromkeys(row.node for row in in_order)
    assert most_at_once(rows, lambda row: row.node) == {first: 1, second: 2}
    # Its workers outlive it by a moment, until they ask whether their machine still runs.
    assert all(row.node == first for row in in_order[-3:])
    assert in_order[-3].started_at > left[0]
