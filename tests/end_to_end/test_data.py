"""Searches on data sets as they are distributed, and on tables made for other tools."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

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


TWO = {"search__evaluations": "2", "search__population": "4", "data__train_fraction": "0.5"}
PICTURES = [layouts.picture(i % 2, i, kind="PNG") for i in range(32)]


def searched(cli: Cli, name: str, root: Path | str, **settings: str) -> list[str]:
    """Search for two evaluations without another file; return the class names of the model."""
    settings |= {"data__root": str(root), "name": name}
    done = cli.run("search", **TWO, **ONE_WORKER, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row.status for row in cli.ledger(name)} == {"ok"}
    folder = cli.folder / name
    assert json.loads((folder / "result.json").read_text())["test"]["accuracy"] >= 0
    classes: list[str] = json.loads((folder / "best" / "config.json").read_text())["classes"]
    return classes


def test_a_table_of_names_without_endings(cli: Cli, tmp_path: Path) -> None:
    names = [f"{i:04x}" for i in range(len(PICTURES))]
    rows = "".join(f"{name},{i % 2}\n" for i, name in enumerate(names))
    files = {f"train_images/{n}.png": c for n, c in zip(names, PICTURES, strict=True)}
    files |= {"train.csv": b"id_code,diagnosis\n" + rows.encode()}
    root = layouts.unpacked(files, tmp_path / "photos #1: mine") / "train.csv"
    columns = {"data__columns__image": "id_code", "data__columns__label": "diagnosis"}
    pattern = {"data__image_pattern": "train_images/{}.png"}
    assert searched(cli, "kaggle", root, data__source="csv", **columns, **pattern) == ["0", "1"]


def test_a_set_of_the_hub(cli: Cli, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat"])}
    )
    images = [Image.open(io.BytesIO(content)) for content in PICTURES]
    for split, part in (
        ("train", slice(0, 20)),
        ("validation", slice(20, 26)),
        ("test", slice(26, 32)),
    ):
        values = {"image": images[part], "label": [i % 2 for i in range(32)][part]}
        written = datasets.Dataset.from_dict(values, features=features)
        for i in range(2):
            shard = written.shard(2, i, contiguous=True)
            shard.to_parquet(tmp_path / "data" / f"{split}-{i:05d}-of-00002.parquet")
    root = tmp_path / "data" / "*.parquet"
    assert searched(cli, "hub", root, data__source="parquet") == ["dog", "cat"]
