"""A search that is done leaves its table, and a result that can be read again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from revo_ray.objective import METRICS, Scores
from revo_ray.rundir.ledger import TABLE
from revo_ray.search.core.summary import finished_result, tie_notes, write_result
from tests.search.core.by_hand import open_state, run

BEST = {"evaluation": 4, "status": "ok", "val_loss": 0.25, "val_accuracy": 0.9}


def noted(objective: str, *changes: dict[str, Any]) -> str:
    rows = [SimpleNamespace(**BEST | {"evaluation": n} | c) for n, c in enumerate(changes)]
    for row in rows:
        row.scores = Scores.of_columns(row)
    return " ".join(tie_notes(rows, METRICS[objective]))


@pytest.mark.parametrize(
    ("objective", "changes", "said"),
    [
        ("loss", ({}, {"val_loss": 0.5}), ""),
        ("loss", ({}, {}, {"val_loss": 0.5}), "2 evaluations share the best validation loss;"),
        ("loss", ({}, {"status": "cached"}), ""),  # the same weights
        ("loss", ({"val_loss": 0.0}, {}), "The best validation loss is 0."),
        ("loss", ({"val_loss": 0.0}, {"val_loss": 0.0}), "2 evaluations share"),
        ("accuracy", ({}, {"val_loss": 0.5}), ""),  # the loss tells them apart
        ("accuracy", ({}, {}), "2 evaluations share the best validation accuracy and loss;"),
        ("loss", ({"status": "error"},), ""),
        ("loss", (), ""),
    ],
)
def test_a_tie_of_the_best_is_said(
    objective: str, changes: tuple[dict[str, Any], ...], said: str
) -> None:
    found = noted(objective, *changes)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_a_done_search_leaves_its_rows_as_one_table_and_its_result(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    run(state, tmp_path)
    written = write_result(state)
    assert pq.read_table(tmp_path / TABLE)["evaluation"].to_pylist() == list(range(30))
    assert finished_result(open_state(tmp_path)) == written


def test_a_search_that_is_not_done_has_no_result(tmp_path: Path) -> None:
    run(state := open_state(tmp_path), tmp_path, stop_after=5)
    assert finished_result(state) is None
