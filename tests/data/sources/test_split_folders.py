"""Folders that look like splits: understood, named by a key, or refused; never classes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from revo_ray.data.image_records import Source, Topic
from revo_ray.data.sources import read_source
from revo_ray.data.sources.class_and_split_names import split_name
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import Files, below, class_folder_files, picture, unpacked, zipped

PETS = {"cat": 3, "dog": 4}
SPELLINGS = {
    "train": "train training TRAIN train_set trainset Train-Images train2017 TrainImages train.v2",
    "validation": "dev devel val valid valid_set validation eval val2017 Validation-Set devset",
    "test": "holdout hold-out held_out test testing test_set test_images TestSet test-1",
}


def read(root: Path, **keys: object) -> Source:
    return read_source(DataConfig.model_validate({"source": "folder", "root": str(root), **keys}))


def refusal(root: Path, **keys: object) -> str:
    with pytest.raises(UserError) as error:
        read(root, **keys)
    assert error.value.key == "data.splits"
    return str(error.value)


def splits(source: Source) -> dict[str | None, int]:
    assert source.classes == ("cat", "dog")
    return dict(Counter(record.split for record in source.records))


def flat(folder: str, count: int = 5) -> Files:
    return {f"{folder}/{i}.png": picture(2, 500 + i, kind="PNG") for i in range(count)}


@pytest.mark.parametrize("split", SPELLINGS)
def test_names_are_understood_in_any_spelling(split: str) -> None:
    for name in SPELLINGS[split].split():
        found = split_name(name)
        assert found is not None, name
        assert (found.split, found.rest) == (split, () if name != "train.v2" else found.rest), name


@pytest.mark.parametrize(
    "name", ["trainer", "testament", "valley", "devil", "bus", "train_test", "split_0", "latest"]
)
def test_other_words_are_no_splits(name: str) -> None:
    assert split_name(name) is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "dev"), ("train", "validation")),
        (("train", "dev", "test"), ("train", "validation", "test")),
        (("train_set", "test_set"), ("train", "test")),
        (("Train-Images", "Hold-Out"), ("train", "test")),
        (("seg_train", "seg_test"), ("train", "test")),
        (("pets-train2017", "pets-val2017"), ("train", "validation")),
        (("train", "val", "eval"), ("train", "validation", "test")),
        (("TrainSet", "DevSet", "TestSet"), ("train", "validation", "test")),
    ],
)
def test_split_folders_are_understood(
    names: tuple[str, ...], expected: tuple[str, ...], tmp_path: Path
) -> None:
    files = class_folder_files(PETS, splits=names)
    for root in (
        unpacked(files, tmp_path / "set"),
        zipped(below("a/b", files), tmp_path / "z.zip"),
    ):
        source = read(root)
        assert splits(source) == dict.fromkeys(expected, 7)
        for record in source.records:
            folder = record.name.removeprefix("a/b/").split("/")[0]
            assert record.split == expected[names.index(folder)]
        assert not source.problems


def test_wrappers_within_split_folders_are_opened(tmp_path: Path) -> None:
    files = below("seg_train", class_folder_files(PETS, splits=["seg_train"]))
    files |= below("seg_test", class_folder_files(PETS, splits=["seg_test"]))
    files |= flat("seg_pred/seg_pred", 6)
    source = read(unpacked(files, tmp_path))
    assert splits(source) == {"train": 7, "test": 7}
    (found,) = source.warnings
    assert (found.topic, found.key) == (Topic.SPLITS, "data.exclude")
    assert "'seg_pred' with 6 images is left out" in found.text


@pytest.mark.parametrize("folder", ["test", "Test_Images", "unlabeled", "unsup", "test/unknown"])
def test_a_folder_without_labels_is_left_out_with_a_line(folder: str, tmp_path: Path) -> None:
    files = class_folder_files(PETS, splits=["train", "valid"])
    root = unpacked(files | flat(folder, 10), tmp_path)
    source = read(root)
    assert splits(source) == {"train": 7, "validation": 7}
    assert not source.problems
    (found,) = source.warnings
    assert found.topic == Topic.SPLITS
    top = folder.split("/")[0]
    assert f"'{top}' with 10 images is left out" in found.text
    assert f"data.exclude: ['{top}']" in found.text
    silent = read(root, exclude=[top])
    assert not silent.warnings
    assert splits(silent) == splits(source)


def test_a_flat_test_beside_train_alone_leaves_train(tmp_path: Path) -> None:
    root = unpacked(class_folder_files(PETS, splits=["train"]) | flat("test"), tmp_path)
    source = read(root)
    assert splits(source) == {"train": 7}
    assert [found.topic for found in source.warnings] == [Topic.SPLITS]


def test_a_train_folder_beside_flat_folders_is_not_a_class_without_a_word(tmp_path: Path) -> None:
    files = class_folder_files(PETS, splits=["train"]) | flat("bus") | flat("to_label")
    root = unpacked(files, tmp_path)
    line = refusal(root)
    assert "data.splits: {train: train}" in line
    assert "data.splits: {}" in line
    assert splits(read(root, splits={"train": "train"})) == {"train": 7}
    assert read(root, splits={}).classes == ("bus", "to_label", "train")


@pytest.mark.parametrize(
    "names", [("fold1", "fold2", "fold3"), ("A", "B"), ("2019", "2020"), ("split_0", "split_1")]
)
def test_parts_of_unknown_names_are_named_drawn_or_said_to_be_classes(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    root = unpacked(class_folder_files(PETS, splits=names), tmp_path)
    line = refusal(root)
    for key in ("{train: NAME, validation: NAME", "splits: drawn", "splits: {}", "group_by: 1"):
        assert key in line
    assert "data.group_by: 2" in line
    drawn = read(root, splits="drawn")
    assert splits(drawn) == {None: 7 * len(names)}
    mapped = read(root, splits={"train": names[0], "test": names[-1].upper()})
    assert splits(mapped) == {"train": 7, "test": 7}
    assert [found.topic for found in mapped.warnings] == [Topic.SPLITS] * (len(names) - 2)
    assert read(root, splits={}).classes == names
    grouped = read(root, group_by=2)
    assert {record.group for record in grouped.records} == {"cat", "dog"}
    assert grouped.classes == names


def test_a_pattern_names_several_folders(tmp_path: Path) -> None:
    root = unpacked(class_folder_files(PETS, splits=["fold1", "fold2", "fold3"]), tmp_path)
    source = read(root, splits={"train": "fold[12]", "validation": "fold3"})
    assert splits(source) == {"train": 14, "validation": 7}
    assert "there is 'fold1', 'fold2', 'fold3'" in refusal(root, splits={"train": "fold9"})
    assert "for train and test" in refusal(root, splits={"train": "fold*", "test": "fold3"})
    assert "no folder for training" in refusal(root, splits={"test": "fold3"})


def test_names_that_data_splits_leaves_out_are_understood(tmp_path: Path) -> None:
    root = unpacked(class_folder_files(PETS, splits=["train", "B"]), tmp_path)
    assert splits(read(root, splits={"test": "b"})) == {"train": 7, "test": 7}


def test_splits_within_class_folders(tmp_path: Path) -> None:
    files = {
        f"{label}/{part}/{i}.png": picture(tint, 10 * place + i, kind="PNG")
        for tint, label in enumerate(PETS)
        for place, part in enumerate(("Training", "Validation", "Testing"))
        for i in range(4)
    }
    source = read(unpacked(files, tmp_path))
    assert splits(source) == {"train": 8, "validation": 8, "test": 8}


@pytest.mark.parametrize("inner", [("images", "masks"), ("jpg", "png"), ("train", "test")])
def test_folders_that_any_class_may_hold_are_no_classes(
    inner: tuple[str, str], tmp_path: Path
) -> None:
    files = class_folder_files(dict.fromkeys(inner, 3), splits=["benign", "malignant"])
    assert read(unpacked(files, tmp_path)).classes == ("benign", "malignant")


def test_a_few_patients_of_both_classes_are_no_split(tmp_path: Path) -> None:
    files = class_folder_files({f"p{i}": 2 for i in range(10)}, splits=["benign"])
    files |= class_folder_files({f"p{i}": 2 for i in range(8, 18)}, splits=["malignant"])
    source = read(unpacked(files, tmp_path))
    assert source.classes == ("benign", "malignant")
    assert [found.key for found in source.warnings] == ["data.group_by"]


@pytest.mark.parametrize("names", [("test", "bus"), ("val", "cat", "dog"), ("train", "plane")])
def test_a_class_that_is_called_like_a_split_stays_one(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    source = read(unpacked(class_folder_files(dict.fromkeys(names, 3)), tmp_path))
    assert source.classes == tuple(sorted(names))
    asked = [name for name in names if name == "val"]
    assert [repr(name) in str(found) for name in asked for found in source.warnings] == [
        True
    ] * len(asked)


def test_two_flat_split_folders_beside_classes_are_no_classes_without_a_word(
    tmp_path: Path,
) -> None:
    root = unpacked(class_folder_files(PETS) | flat("val") | flat("test"), tmp_path)
    line = refusal(root)
    assert "data.exclude: ['test', 'val']" in line
    assert read(root, exclude=["test", "val"]).classes == tuple(sorted(PETS))
    assert len(read(root, splits={}).classes) == len(PETS) + 2


@pytest.mark.parametrize("folders", [("fold1", "fold2"), ("siteA", "siteB", "siteC")])
def test_whole_sets_beside_each_other_are_no_classes(
    folders: tuple[str, ...], tmp_path: Path
) -> None:
    files: Files = {}
    for name in folders:
        part = class_folder_files(PETS, splits=["train", "val"])
        files |= {f"{name}/{path}": content for path, content in part.items()}
    root = unpacked(files, tmp_path)
    with pytest.raises(UserError, match="each hold split folders with classes"):
        read(root)
    assert read(root / folders[0]).classes == tuple(sorted(PETS))


@pytest.mark.parametrize("odd", ["cat/x.png", "cat/extra/x.png", "emu/x.png"])
def test_what_fits_no_split_within_a_class_is_told(odd: str, tmp_path: Path) -> None:
    files = {
        f"{label}/{split}/{i}.png": picture(0, i, kind="PNG")
        for label in ("cat", "dog")
        for split in ("train", "test")
        for i in range(3)
    }
    whole = unpacked(files, tmp_path / "1")
    assert splits(read(whole)) == {"train": 6, "test": 6}
    root = unpacked(files | {odd: picture(1, 9, kind="PNG")}, tmp_path / "2")
    assert odd.split("/")[0] in refusal(root)
    assert {record.split for record in read(root, splits="drawn").records} == {None}


def test_held_out_folders_without_a_training_one_are_pooled_by_the_key_that_is_named(
    tmp_path: Path,
) -> None:
    root = unpacked(class_folder_files(PETS, splits=["val", "test"]), tmp_path)
    assert "data.splits: drawn" in refusal(root)
    source = read(root, splits="drawn")
    assert source.classes == tuple(sorted(PETS))
    assert set(splits(source)) == {None}


def test_patients_above_the_classes_stay_whole_by_the_keys_that_are_named(tmp_path: Path) -> None:
    patients = [f"patient{i}" for i in range(4)]
    root = unpacked(class_folder_files(PETS, splits=patients), tmp_path)
    assert "data.splits: drawn and data.group_by: 1" in refusal(root)
    source = read(root, splits="drawn", group_by=1)
    assert source.classes == tuple(sorted(PETS))
    assert {record.group for record in source.records} == set(patients)
