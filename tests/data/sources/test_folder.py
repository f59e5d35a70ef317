"""Class folders: which folders are classes, which are splits, and what has no class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from revo_ray.data.image_records import Source
from revo_ray.data.sources import read_source
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import Files, below, class_folder_files, picture, unpacked, zipped

PETS = {"cat": 3, "dog": 4}


def read(root: object, **keys: object) -> Source:
    return read_source(DataConfig.model_validate({"source": "folder", "root": str(root), **keys}))


def refusal(files: Files, folder: Path, key: str = "data.root", **keys: object) -> str:
    with pytest.raises(UserError) as error:
        read(unpacked(files, folder), **keys)
    assert error.value.key == key
    return str(error.value)


def counts(source: Source) -> dict[str, int]:
    return dict(Counter(record.label for record in source.records))


def test_classes_and_images_are_those_of_torchvision(tmp_path: Path) -> None:
    files = class_folder_files({"dog": 3, "Zebra": 2, "ant": 1, "x y (2)": 2, "été": 1})
    files |= {"dog/a/b/1.png": picture(0, 99, kind="PNG"), "ant/1.JPG": picture(1, 99)}
    root = unpacked(files, tmp_path / "my pets (new)")
    source, reference = read(root), ImageFolder(str(root))
    assert list(source.classes) == reference.classes
    assert {(record.name, source.classes.index(record.label)) for record in source.records} == {
        (Path(path).relative_to(root).as_posix(), label) for path, label in reference.samples
    }
    for record in source.records:
        expected = Image.open(root / record.name)
        assert np.array_equal(np.asarray(record.picture.open()), np.asarray(expected))
    assert not source.problems
    assert not source.warnings


def test_an_archive_is_read_like_its_content(tmp_path: Path) -> None:
    files = class_folder_files({"cat": 2, "été (ß)": 2})
    folder = read(unpacked(files, tmp_path / "set"))
    archive = read(zipped(files, tmp_path / "set.zip"))
    assert archive.classes == folder.classes
    for mine, other in zip(archive.records, folder.records, strict=True):
        assert (mine.name, mine.label) == (other.name, other.label)
        assert np.array_equal(np.asarray(mine.picture.open()), np.asarray(other.picture.open()))


def test_classes_that_are_numbers_stand_by_number(tmp_path: Path) -> None:
    root = unpacked(class_folder_files({"10": 1, "9": 1, "-1": 1, "2": 1}), tmp_path / "1")
    assert read(root).classes == ("-1", "2", "9", "10")
    root = unpacked(class_folder_files({"10": 1, "9": 1, "2b": 1}), tmp_path / "2")
    assert read(root).classes == ("10", "2b", "9")


@pytest.mark.parametrize(
    "splits",
    [
        {"train": "train", "val": "validation", "test": "test"},
        {"Training": "train", "VALID": "validation", "Testing": "test"},
        {"train": "train", "validation": "validation"},
        {"TRAIN": "train", "Test": "test"},
    ],
)
@pytest.mark.parametrize("wrapper", ["", "v1/pets"])
def test_split_folders(splits: dict[str, str], wrapper: str, tmp_path: Path) -> None:
    files = class_folder_files(PETS, splits=list(splits))
    files |= {f"{name}/cat/deep/{name}.png": picture(0, 7, kind="PNG") for name in splits}
    source = read(unpacked(below(wrapper, files) if wrapper else files, tmp_path))
    assert source.classes == ("cat", "dog")
    assert len(source.records) == len(splits) * 8
    for record in source.records:
        folder, label, *_ = record.name.removeprefix(f"{wrapper}/").split("/")
        assert record.split == splits[folder]
        assert record.label == label
    assert not source.problems


@pytest.mark.parametrize("names", [("train", "bus"), ("test", "control"), ("training", "x", "y")])
def test_classes_that_are_called_like_a_split(names: tuple[str, ...], tmp_path: Path) -> None:
    source = read(unpacked(class_folder_files(dict.fromkeys(names, 2)), tmp_path))
    assert source.classes == tuple(sorted(names))
    assert all(record.split is None for record in source.records)


def test_splits_of_different_classes(tmp_path: Path) -> None:
    files = class_folder_files(PETS, splits=["train", "val", "test"])
    files |= class_folder_files({"emu": 2}, splits=["test"])
    files = {name: content for name, content in files.items() if "val/cat" not in name}
    line = refusal(files, tmp_path, "data.splits")
    assert "'train' lacks 'emu'" in line
    assert "'val' lacks 'cat', 'emu'" in line
    assert "'test' lacks" not in line
    drawn = read(tmp_path, splits="drawn")
    assert drawn.classes == ("cat", "dog", "emu")
    assert counts(drawn) == {"cat": 6, "dog": 12, "emu": 2}


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        (["train", "test", "notes"], "'notes'"),
        (["val", "test"], "'train'"),
        (["train", "val", "valid"], "same split"),
    ],
)
def test_splits_that_are_not_clear(splits: list[str], says: str, tmp_path: Path) -> None:
    assert says in refusal(class_folder_files(PETS, splits=splits), tmp_path, "data.splits")


def test_an_empty_split(tmp_path: Path) -> None:
    files = class_folder_files(PETS, splits=["train"]) | {"test/": b""}
    assert "test' holds no class folder" in refusal(files, tmp_path)


@pytest.mark.parametrize("wrapper", ["pets", "a b/c (1)/pets"])
def test_wrappers_are_opened(wrapper: str, tmp_path: Path) -> None:
    files = below(wrapper, class_folder_files(PETS)) | {"readme.md": b"#", "logo.png": b""}
    source = read(unpacked(files, tmp_path))
    assert source.classes == ("cat", "dog")
    assert counts(source) == PETS
    assert source.problems == (("logo.png", "lies in no class folder"),)


def test_a_folder_with_images_is_no_wrapper(tmp_path: Path) -> None:
    files = below("cat", class_folder_files({"black": 2, "white": 2})) | {
        "cat/1.png": picture(0, 0)
    }
    assert "one class only, 'cat'" in refusal(files, tmp_path)


def test_images_beside_class_folders_are_problems(tmp_path: Path) -> None:
    files = class_folder_files(PETS) | {"b.png": b"", "a.jpg": b""}
    source = read(unpacked(files, tmp_path / "1"))
    assert sorted(problem.name for problem in source.problems) == ["a.jpg", "b.png"]
    assert counts(source) == PETS
    files = class_folder_files(PETS, splits=["train", "test"]) | {"x.png": b"", "test/y.png": b""}
    source = read(unpacked(files, tmp_path / "2"))
    assert sorted(problem.name for problem in source.problems) == ["test/y.png", "x.png"]


def test_other_files_are_counted_in_one_warning(tmp_path: Path) -> None:
    files = class_folder_files(PETS)
    files |= {"cat/1.txt": b"", "dog/2.TXT": b"", "dog/more.zip": b"", "LICENSE": b""}
    files |= {".DS_Store": b"", "cat/Thumbs.db": b"", "__MACOSX/cat/._1.png": b""}
    source = read(unpacked(files, tmp_path))
    (warning,) = map(str, source.warnings)
    assert warning == "files that are no images are not read: 2 .txt, 1 .zip, 1 without extension"
    assert source.classes == ("cat", "dog")
    assert not source.problems


def test_classes_without_images_are_named(tmp_path: Path) -> None:
    files = class_folder_files(PETS) | {"emu/": b"", "gnu/deep/": b"", "gnu/notes.txt": b""}
    assert "'emu', 'gnu'" in refusal(files, tmp_path / "1")
    splits = class_folder_files(PETS, splits=["train", "test"]) | {"test/emu/": b""}
    assert "'test/emu'" in refusal(splits, tmp_path / "2")


def test_a_class_whose_images_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    root = unpacked(class_folder_files(PETS), tmp_path)
    (root / "emu").mkdir()
    (root / "emu" / "1.png").symlink_to(tmp_path / "nothing")
    source = read(root)
    assert source.classes == ("cat", "dog", "emu")
    assert counts(source) == PETS
    assert [problem.name for problem in source.problems] == ["emu/1.png"]


def test_one_class_no_class_and_no_image(tmp_path: Path) -> None:
    assert "one class only, 'cat'" in refusal(class_folder_files({"cat": 3}), tmp_path / "1")
    flat = {"1.png": picture(0, 0), "2.png": picture(0, 1)}
    assert "2 images, but no class folder" in refusal(flat, tmp_path / "2")
    assert "no class folder" in refusal({}, tmp_path / "3")
    assert "'sets.zip'" in refusal({"sets.zip": b""}, tmp_path / "4")
    texts = {"cat/1.txt": b"", "dog/1.txt": b""}
    assert "'cat', 'dog'" in refusal(texts, tmp_path / "5")
    assert "one class only" in refusal(
        class_folder_files({"cat": 2}, splits=["train", "test"]), tmp_path / "6"
    )


def test_many_empty_classes_make_a_short_line(tmp_path: Path) -> None:
    files = class_folder_files(PETS) | {f"empty {i:03d}/": b"" for i in range(500)}
    line = refusal(files, tmp_path)
    assert "and 492 more" in line
    assert len(line) < 300


def test_names_of_one_text_in_two_encodings_are_one_class(tmp_path: Path) -> None:
    files = class_folder_files({"e\u0301te\u0301": 2, "dog": 2}, splits=["train"])
    files |= class_folder_files({"\u00e9t\u00e9": 2, "dog": 2}, splits=["test"])
    source = read(unpacked(files, tmp_path))
    assert source.classes == ("dog", "\u00e9t\u00e9")
    assert counts(source) == {"dog": 4, "\u00e9t\u00e9": 4}


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    store = unpacked(class_folder_files({"a": 2, "b": 3}), tmp_path / "store")
    root = tmp_path / "set"
    (root / "cat").mkdir(parents=True)
    (root / "dog").symlink_to(store / "b")
    (root / "cat" / "one.png").symlink_to(store / "a" / "a 0.png")
    (root / "cat" / "gone.png").symlink_to(store / "nothing.png")
    (root / "cat" / "loop").symlink_to(root)
    source = read(root)
    assert counts(source) == {"cat": 1, "dog": 3}
    assert [problem.name for problem in source.problems] == ["cat/gone.png"]


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    root = unpacked(class_folder_files(PETS), tmp_path)
    name = bytes(root / "cat") + b"/b\xe4r.png"
    with open(name, "wb") as file:
        file.write(picture(0, 50, kind="PNG"))
    source = read(root)
    (record,) = (record for record in source.records if "xe4" in record.name)
    assert record.name.encode()
    record.picture.open().load()
