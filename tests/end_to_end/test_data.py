"""Searches on data sets as they are distributed, and on tables made for other tools."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import fs

from tests.data import layouts
from tests.end_to_end.cli import ONE_WORKER, Cli
from tests.object_store import object_store

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


@pytest.mark.nightly
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


@pytest.mark.nightly
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


def test_a_folder_of_a_phones_photos(cli: Cli, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    for i, content in enumerate(PICTURES):
        path = tmp_path / "photos" / ("cat", "dog")[i % 2] / f"IMG_{i:04d}.HEIC"
        path.parent.mkdir(parents=True, exist_ok=True)
        heif.from_pillow(Image.open(io.BytesIO(content)).convert("RGB")).save(path)
    assert searched(cli, "heic", tmp_path / "photos", data__source="folder") == ["cat", "dog"]


@pytest.mark.nightly
def test_a_folder_of_dicom_files(cli: Cli, tmp_path: Path) -> None:
    """The slices are turns of pydicom's own CT: deep images, whose range the model keeps."""
    pydicom = pytest.importorskip("pydicom")
    file = pydicom.dcmread(Path(pydicom.__file__).parent / "data/test_files/CT_small.dcm")
    slices = file.pixel_array
    for i in range(32):
        path = tmp_path / "scans" / ("head", "neck")[i % 2] / f"{i:03d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        file.PixelData = np.roll(np.rot90(slices, i % 4), 4 * i, axis=i % 2).tobytes()
        file.save_as(path)
    assert searched(cli, "dicom", tmp_path / "scans", data__source="folder") == ["head", "neck"]
    low, high = json.loads((tmp_path / "dicom/best/config.json").read_text())["intensity"]
    assert low < high


def test_a_folder_in_an_object_store(cli: Cli) -> None:
    with object_store() as uri:
        system, _ = fs.FileSystem.from_uri(uri(""))
        for i, content in enumerate(PICTURES):
            with system.open_output_stream(f"bucket/photos/{'ab'[i % 2]}/{i}.png") as stream:
                stream.write(content)
        assert searched(cli, "store", uri("photos"), data__source="folder") == ["a", "b"]


@pytest.mark.nightly
def test_debians_clip_art_needs_no_manual_step(cli: Cli, tmp_path: Path) -> None:
    """The whole package is looked at; a thousand of its pictures are searched."""
    root = tmp_path / "usr/share/openclipart/png"
    for command in ("apt-get download openclipart-png", "dpkg -x openclipart-png*.deb ."):
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"no package: {done.stderr.decode()[-200:]}")
    data = {"data__on_bad_image": "skip", "data__near_duplicates": "drop"}
    data |= {"data__min_per_class": "100", "data__max_images": "1000"}
    assert len(searched(cli, "clip-art", root, data__source="folder", **data)) == 13
