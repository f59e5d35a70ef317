"""Folders and tables as they are met in the field: the first line of `inspect`, and the table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from revo_ray.cli.main import main
from revo_ray.data.inspect import inspect
from revo_ray.data.table.image_table import Table, prepare_table, split_table
from revo_ray.errors import UserError
from revo_ray.settings.schema import SearchConfig
from tests.data import field_cases

pytestmark = pytest.mark.slow

KAGGLE = (
    "data.columns.image=id_code",
    "data.columns.label=diagnosis",
    "data.image_pattern=train_images/{}.png",
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases") / "all"
    field_cases.write(folder)
    return folder


FIRST = {
    "split-dev": "folder in",
    "split-sets": "folder in",
    "split-flat-test": "the folder 'test' with 10 images is left out",
    "deep-12-bit": "0 becomes black and 4095 white in all of them; data.intensity",
    "signed": "in all of them; data.intensity: [low, high]",
    "patients": "may each be a patient, subject or scene: data.group_by: 2",
    "contradictory": "20 pictures stand in two classes or more",
    "many-near-duplicates": "data.near_duplicates: group keeps twins in one split",
    "near-labels.csv": "7 images cannot be used",
    "kaggle/train.csv": "data.columns: {image: NAME, label: NAME}",
    "kaggle": "read the labels from a table that lies there: 'train.csv'",
    "long-tail": "data.min_per_class",
    "imbalance": "'common' has 500: it has 1 validation image and 1 test image; train.class",
    "big-xmp": "41 images in 2 classes",
    "huge": "41 images in 2 classes",
    "given-80-10-10": "100 images in 2 classes",
    "panorama": "data.fit: pad or stretch",
    "heic-class": "50 images in 3 classes",
    "photos #1": "40 images in 2 classes",
}
"""A part of the first line that a user sees of each."""


@pytest.mark.parametrize("case", FIRST)
def test_the_first_line_says_the_worst(
    case: str,
    cases: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = ["revo-ray", "data", "inspect", str(cases / case), "--set", f"storage={tmp_path}"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit):
        main()
    out, err = capfd.readouterr()
    first = (out or err).splitlines()[0]
    assert FIRST[case] in first
    assert "Traceback" not in out + err
    if case.startswith("near"):
        second = out.splitlines()[1]
        assert all(name in second for name in ("'Cat' and 'cat'", "'01' and '1'", "'NaN'"))
    if case == "long-tail":
        assert all(f"'rare{i:02d}'" in first for i in range(30))


def prepared(case: str, cases: Path, folder: Path, *settings: str) -> tuple[Table, Any]:
    """The table of a case, and its splits."""
    config = SearchConfig.load(str(cases / case), ["data.image_size=48", *settings]).data
    table = prepare_table(config, folder, must_split=True)
    return table, split_table(table, config)


@pytest.mark.parametrize("case", ["split-dev", "split-sets"])
def test_split_folders_are_no_classes(case: str, cases: Path, tmp_path: Path) -> None:
    table, splits = prepared(case, cases, tmp_path)
    assert table.classes == ("cat", "dog")
    given, folder = (splits.validation, "dev") if case == "split-dev" else (splits.test, "test_set")
    assert {table.names[i].split("/")[0] for i in given} == {folder}
    assert len(given) == 12


def test_given_splits_are_used_whole(cases: Path, tmp_path: Path) -> None:
    _, splits = prepared("given-80-10-10", cases, tmp_path)
    assert [len(part) for part in vars(splits).values()] == [80, 10, 10]


def test_a_flat_test_folder_is_left_out(cases: Path, tmp_path: Path) -> None:
    table, splits = prepared("split-flat-test", cases, tmp_path)
    assert table.classes == ("cat", "dog")
    assert not any(name.startswith("test/") for name in table.names)
    assert len(splits.validation) == 12


@pytest.mark.parametrize("case", ["deep-12-bit", "signed"])
def test_deep_images_are_visible(case: str, cases: Path, tmp_path: Path) -> None:
    table, _ = prepared(case, cases, tmp_path / "auto")
    pixels = table.images[:]
    assert int(pixels.max()) - int(pixels.min()) >= 200
    dark, _ = prepared(case, cases, tmp_path / "set", "data.intensity=[0, 65535]")
    assert dark.images[:].max() < 20


@pytest.mark.parametrize("group_by", ["2", "-1", "patient_([a-z][0-9])"])
def test_patients_stay_together_by_one_key(group_by: str, cases: Path, tmp_path: Path) -> None:
    table, splits = prepared("patients", cases, tmp_path, f"data.group_by={group_by}")
    held = [{table.names[i].split("/")[1] for i in part} for part in vars(splits).values()]
    assert sum(map(len, held)) == len(set.union(*held))


def test_contradictory_pictures_can_be_dropped(cases: Path, tmp_path: Path) -> None:
    table, _ = prepared("contradictory", cases, tmp_path)
    assert "two classes" in str(table.warnings[0])
    table, _ = prepared("contradictory", cases, tmp_path, "data.near_duplicates=drop")
    left = {table.images[i].tobytes() for i in range(len(table.names))}
    assert len(left) == len(table.names) == 60


def test_copies_are_grouped_or_dropped_by_one_key(cases: Path, tmp_path: Path) -> None:
    def held(splits: Any, table: Table) -> list[set[bytes]]:
        return [{table.images[i].tobytes() for i in part} for part in vars(splits).values()]

    table, splits = prepared("many-near-duplicates", cases, tmp_path, "data.near_duplicates=group")
    assert len(table.names) == 160
    assert sum(map(len, held(splits, table))) == len(set.union(*held(splits, table)))
    table, _ = prepared("many-near-duplicates", cases, tmp_path, "data.near_duplicates=drop")
    assert len(table.names) == 120


def test_labels_that_are_none_are_left_out(cases: Path, tmp_path: Path) -> None:
    table, _ = prepared("near-labels.csv", cases, tmp_path, "data.on_bad_image=skip")
    assert "NaN" not in table.classes
    assert len(table.names) == 53


def test_a_kaggle_table_needs_three_keys(cases: Path, tmp_path: Path) -> None:
    table, _ = prepared("kaggle/train.csv", cases, tmp_path, *KAGGLE)
    assert Counter(table.labels.tolist()) == {0: 20, 1: 20, 2: 20}


def test_rare_classes_can_be_left_out(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rare29"):
        prepared("long-tail", cases, tmp_path)
    table, _ = prepared("long-tail", cases, tmp_path, "data.min_per_class=3")
    assert table.classes == ("cat", "dog")


@pytest.mark.parametrize(("case", "name"), [("big-xmp", "xmp.png"), ("huge", "huge.jpg")])
def test_large_files_are_read(case: str, name: str, cases: Path, tmp_path: Path) -> None:
    table, _ = prepared(case, cases, tmp_path)
    assert f"cat/{name}" in table.names


def test_a_key_shows_all_of_a_panorama(cases: Path, tmp_path: Path) -> None:
    tables = [
        prepared("panorama", cases, tmp_path, f"data.fit={fit}")[0] for fit in ("pad", "crop")
    ]
    place = tables[0].names.index("dog/wide0.png")
    bars = tables[0].images[place][:, :20]
    assert (bars == 0).all()
    assert np.ptp(tables[1].images[place][:, :20]) > 0


def test_photos_of_phones_are_read(cases: Path, tmp_path: Path) -> None:
    table, _ = prepared("heic-class", cases, tmp_path)
    assert table.classes == ("bird", "cat", "dog")
    assert np.ptp(table.images[:][table.labels == 0]) > 50


def test_a_search_says_what_inspect_says(cases: Path, tmp_path: Path) -> None:
    for case in ("panorama", "imbalance", "deep-12-bit", "many-near-duplicates", "patients"):
        config = SearchConfig.load(str(cases / case), ["data.image_size=48"]).data
        warned = inspect(config, tmp_path / case).warnings
        assert warned
        assert prepare_table(config, tmp_path / case, must_split=True).warnings == warned


def test_a_torn_table_is_no_table(cases: Path, tmp_path: Path) -> None:
    table, _ = prepared("panorama", cases, tmp_path)
    names, torn = table.names, table.path.read_bytes()[:1000]
    table.path.unlink()  # another file: the old one is mapped
    table.path.write_bytes(torn)
    config = SearchConfig.load(str(cases / "panorama"), ["data.image_size=48"]).data
    assert inspect(config, tmp_path).table is None
    assert prepared("panorama", cases, tmp_path)[0].names == names
