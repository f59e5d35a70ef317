"""The inspection says what a search would find: the same images, splits, table and errors."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from revo_ray.data import inspect as inspect_module
from revo_ray.data.inspect import Inspection, inspect
from revo_ray.data.sources import read_source
from revo_ray.data.splits.split import split
from revo_ray.data.table.image_table import prepare_table
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import Files, picture, unpacked

THIRDS = {"train_fraction": 0.3, "validation_fraction": 0.3, "test_fraction": 0.3}


def class_files(count: int = 12, classes: tuple[str, ...] = ("cat", "dog")) -> Files:
    return {
        f"{label}/{i:02d}.jpg": picture(tint, i)
        for tint, label in enumerate(classes)
        for i in range(count)
    }


def folder(root: Path, files: Files, **keys: object) -> DataConfig:
    return DataConfig(
        source="folder", root=str(unpacked(files, root / "set")), image_size=32, **THIRDS | keys
    )


def by_table(config: DataConfig, place: Path) -> dict[str, list[int]]:
    """Images of each class in each split, as a search has them."""
    table = prepare_table(config, place)
    splits = split(table.labels, config, table.groups, table.classes, table.given)
    return {
        name: np.bincount(
            table.labels[getattr(splits, name)], minlength=len(table.classes)
        ).tolist()
        for name in ("train", "validation", "test")
    }


def counts(found: Inspection) -> dict[str, list[int]]:
    return {name: part.tolist() for name, part in found.splits.items() if name != "unused"}


@pytest.mark.parametrize("keys", [{}, {"max_images": 20}, {"seed": 3, "train_fraction": 0.1}])
def test_splits_and_table_are_those_of_a_search(tmp_path: Path, keys: dict[str, object]) -> None:
    files = class_files() | class_files(7, ("emu",)) | {"cat/bad.png": b"no image"}
    config = folder(tmp_path, files, on_bad_image="skip", **keys)
    tables = tmp_path / "tables"
    before = inspect(config, tables)
    assert before.table is None
    assert list(tables.glob("*.arrow")) == []
    assert counts(before) == by_table(config, tables)
    after = inspect(config, tables)
    table = prepare_table(config, tables)
    assert after.table == table.path
    assert after.counts.tolist() == np.bincount(table.labels).tolist()
    assert sum(part.sum() for part in after.splits.values()) == len(table.labels)
    assert after.problems == table.skipped
    assert after.listed == 32
    other = inspect(config.model_copy(update={"image_size": 40}), tables)
    assert other.table is None


def test_the_size_of_the_table_is_about_right(tmp_path: Path) -> None:
    config = DataConfig()
    table = prepare_table(config, tmp_path)
    assert inspect(config, tmp_path).table_bytes == pytest.approx(table.path.stat().st_size, 0.01)


def given(copies: Files) -> Files:
    """Eight images of each class in each of three folders, no two alike, and more."""
    files = {
        f"{part}/{label}/{i}.png": picture(tint, 10 * k + i, (60, 50), "PNG")
        for k, part in enumerate(("train", "val", "test"))
        for tint, label in enumerate(("cat", "dog"))
        for i in range(8)
    }
    return files | copies


def worked_on(content: bytes) -> bytes:
    """The picture as a smaller, lighter JPEG."""
    image = Image.open(io.BytesIO(content)).resize((54, 45), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.point(lambda value: value * 1.1).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def test_different_pictures_are_no_duplicates(tmp_path: Path) -> None:
    found = inspect(folder(tmp_path, given({})), tmp_path / "tables")
    assert [overlap.splits for overlap in found.overlaps] == [
        ("train", "validation"),
        ("train", "test"),
        ("validation", "test"),
    ]
    assert all(overlap.same == overlap.similar == 0 for overlap in found.overlaps)
    assert found.warnings == ()
    assert found.obstacles == ()


def test_duplicates_across_splits_are_named(tmp_path: Path) -> None:
    files = given(
        {
            "train/cat/within.png": picture(0, 0, (60, 50), "PNG"),  # beside train/cat/0.png
            "test/cat/copy.bmp": picture(0, 11, (60, 50), "BMP"),
            "test/cat/like.jpg": worked_on(picture(0, 3, (60, 50), "PNG")),
        }
    )
    config = folder(tmp_path, files, train_fraction=0.34)
    found = inspect(config, tmp_path / "tables")
    validation, test, both = found.overlaps
    assert found.splits["unused"].sum() == 0
    assert (validation.same, validation.similar) == (0, 0)
    assert (test.same, test.similar) == (0, 1)
    assert test.similar_names == (("train/cat/3.png", "test/cat/like.jpg"),)
    assert (both.same, both.similar) == (1, 0)
    assert both.same_names == (("val/cat/1.png", "test/cat/copy.bmp"),)
    (warning,) = map(str, found.warnings)
    assert warning.startswith("2 of 34 validation and test images have a twin in another split")
    found.check()


def test_images_that_no_split_uses_are_no_leak(tmp_path: Path) -> None:
    files = given({f"test/cat/{i}.jpg": picture(0, i, (60, 50), "PNG") for i in range(8)})
    config = folder(tmp_path, files)
    every = inspect(config.model_copy(update={"train_fraction": 0.29}), tmp_path / "tables")
    few = inspect(config.model_copy(update={"train_fraction": 0.04}), tmp_path / "tables")
    assert every.splits["train"].tolist() == [8, 8]
    assert every.overlaps[1].same == 8
    assert few.splits["train"].tolist() == [1, 1]
    assert few.overlaps[1].same == 1


def test_every_bad_image_is_an_obstacle_unless_skipped(tmp_path: Path) -> None:
    files = class_files() | {"cat/torn.jpg": picture(0, 99)[:400], "dog/text.png": b"no image"}
    config = folder(tmp_path, files)
    found = inspect(config, tmp_path / "tables")
    assert dict(found.problems).keys() == {"cat/torn.jpg", "dog/text.png"}
    assert dict(found.problems)["cat/torn.jpg"] == "truncated"
    assert found.splits
    with pytest.raises(
        UserError, match=r"2 images cannot be used: .*truncated.*others that are listed"
    ) as error:
        found.check()
    assert error.value.key == "data.root"
    with pytest.raises(UserError) as refused:
        prepare_table(config, tmp_path / "tables")
    for name, cause in found.problems:
        assert f"{name!r} ({cause})" in str(refused.value)
    skipped = inspect(config.model_copy(update={"on_bad_image": "skip"}), tmp_path / "tables")
    assert skipped.problems == found.problems
    skipped.check()


def test_all_obstacles_are_in_one_line_and_the_rest_is_there(tmp_path: Path) -> None:
    files = class_files() | class_files(2, ("emu",)) | {"cat/text.png": b"no image"}
    config = folder(tmp_path, files, max_images=2)
    found = inspect(config, tmp_path / "tables")
    assert found.splits == {}
    assert found.overlaps == ()
    assert found.counts.tolist() == [12, 12, 2]
    assert found.sizes == ((40, 30),) * 3
    with pytest.raises(UserError) as error:
        found.check()
    bad, limit, emu = (
        str(error.value).split("; ")[0],
        "data.max_images: 2 images",
        "class 'emu' has 2",
    )
    assert bad.startswith("data.root: 1 image cannot be used: 'cat/text.png' (not an image")
    assert limit in str(error.value)
    assert emu in str(error.value)
    assert "\n" not in str(error.value)


def test_a_class_of_bad_images_only_is_an_obstacle(tmp_path: Path) -> None:
    files = class_files() | {"emu/1.jpg": b"", "emu/2.jpg": b""}
    config = folder(tmp_path, files, on_bad_image="skip")
    with pytest.raises(UserError, match="class 'emu' has no image"):
        inspect(config, tmp_path / "tables").check()


def test_sizes_and_kinds_are_those_of_the_files(tmp_path: Path) -> None:
    files = class_files(6) | {
        "cat/large.jpg": picture(0, 20, (900, 700)),  # decoded at 1/8 for 32 pixels
        "cat/small.png": picture(0, 21, (9, 8), "PNG", "P"),
    }
    found = inspect(folder(tmp_path, files), tmp_path / "tables")
    assert found.sizes == ((9, 8), (40, 30), (900, 700))
    assert found.kinds == {"JPEG RGB": 13, "PNG P": 1}


def csv(root: Path, rows: list[str], **keys: object) -> DataConfig:
    unpacked(class_files(), root)
    (root / "images.csv").write_text("\n".join(rows))
    return DataConfig(source="csv", root=str(root / "images.csv"), image_size=32, **THIRDS | keys)


def test_groups_are_counted_and_kept_whole(tmp_path: Path) -> None:
    rows = [
        f"{label}/{i:02d}.jpg,{label},{'' if i == 11 else label[0] + str(i // 2)}"
        for label in ("cat", "dog")
        for i in range(12)
    ]
    config = csv(tmp_path, ["path,label,group", *rows])
    found = inspect(config, tmp_path / "tables")
    groups = found.groups
    assert groups is not None
    assert (groups.count, groups.shared, groups.without) == (12, 10, 2)
    assert counts(found) == by_table(config, tmp_path / "tables")


def test_given_splits_that_part_a_group_are_an_obstacle(tmp_path: Path) -> None:
    parts = ("train", "validation", "test")
    rows = [
        f"{label}/{i:02d}.jpg,{label},{i if i > 2 else 'parted'},{parts[i % 3]}"
        for label in ("cat", "dog")
        for i in range(12)
    ]
    config = csv(tmp_path, ["path,label,group,split", *rows])
    found = inspect(config, tmp_path / "tables")
    assert found.counts.tolist() == [12, 12]
    with pytest.raises(UserError, match="'parted'"):
        found.check()
    inspect(config.model_copy(update={"splits": "drawn"}), tmp_path / "tables").check()


@pytest.mark.parametrize("grouped", [True, False])
def test_ham10000_without_lesions_is_a_warning(
    tmp_path: Path, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        f"{label}/ISIC_{24306 + 100 * tint + i:07d}.jpg": picture(tint, i)
        for tint, label in enumerate(("mel", "nv"))
        for i in range(12)
    }
    config = folder(tmp_path, files)
    source = read_source(config)
    if grouped:
        records = tuple(replace(r, group=f"HAM_{i // 2}") for i, r in enumerate(source.records))
        source = replace(source, records=records)
        monkeypatch.setattr(inspect_module, "read_source", lambda config: source)
    warned = [w for w in map(str, inspect(config, tmp_path / "tables").warnings) if "lesion" in w]
    assert len(warned) == (not grouped)
