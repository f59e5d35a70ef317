"""Searches on the four data sets as they are distributed, with only source and root set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.data import layouts
from tests.end_to_end.cli import ONE_WORKER, Cli

pytestmark = pytest.mark.usefixtures("one_ray")

Maker = Callable[[Path], Path]

LAYOUTS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "ham10000": (
        lambda folder: layouts.unpacked(layouts.ham10000_files(images="zips"), folder / "ham"),
        layouts.HAM10000_CLASSES,
    ),
    "busi": (
        lambda folder: layouts.zipped(layouts.busi_files(), folder / "archive.zip"),
        layouts.BUSI_CLASSES,
    ),
    "leaves": (
        lambda folder: layouts.unpacked(layouts.leaves_files(), folder / "leaves"),
        layouts.LEAVES_CLASSES,
    ),
    "srsmas": (
        lambda folder: layouts.zipped(layouts.srsmas_files(), folder / "SRSMAS.zip"),
        layouts.SRSMAS_CLASSES,
    ),
}


@pytest.mark.parametrize("source", LAYOUTS)
def test_a_search_on_a_set_as_it_is_distributed(source: str, cli: Cli, tmp_path: Path) -> None:
    make, classes = LAYOUTS[source]
    settings = {"data__source": source, "data__root": str(make(tmp_path)), "name": source}
    # Twenty test images tell little of a network that begins at random and has two epochs.
    settings |= {"search__evaluations": "10", "train__epochs": "6"}
    done = cli.run("search", **settings, **ONE_WORKER)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / source
    rows = cli.ledger(source)
    assert [row.evaluation for row in rows] == list(range(10))
    assert {row.status for row in rows} <= {"ok", "diverged", "cached"}
    assert json.loads((folder / "best" / "config.json").read_text())["classes"] == list(classes)
    assert json.loads((folder / "result.json").read_text())["test"]["accuracy"] > 1 / len(classes)

    (table,) = (tmp_path / ".tables").glob("*.arrow")
    with pa.memory_map(str(table)) as file:
        rows_of_table = pa.ipc.open_file(file).read_all()
    assert set(rows_of_table["label"].to_pylist()) == set(range(len(classes)))
    assert (rows_of_table["group"].null_count == 0) == (source == "ham10000")
