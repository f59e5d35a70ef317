"""A search that is done leaves its table, and a result that can be read again."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from revo_ray.rundir.ledger import TABLE
from revo_ray.search.core.summary import finished_result, write_result
from tests.search.core.by_hand import open_state, run


def test_a_done_search_leaves_its_rows_as_one_table_and_its_result(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    run(state, tmp_path)
    written = write_result(state)
    assert pq.read_table(tmp_path / TABLE)["evaluation"].to_pylist() == list(range(30))
    assert finished_result(open_state(tmp_path)) == written


def test_a_search_that_is_not_done_has_no_result(tmp_path: Path) -> None:
    run(state := open_state(tmp_path), tmp_path, stop_after=5)
    assert finished_result(state) is None
