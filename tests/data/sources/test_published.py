"""Sources that come in a known layout: what is read of it, and what is said where it differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from revo_ray.data.image_records import Source
from revo_ray.data.sources import READERS, read_source
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import (
    BUSI_CLASSES,
    LEAVES_CLASSES,
    SRSMAS_CLASSES,
    WAYS,
    Files,
    below,
    busi_files,
    ham10000_files,
    leaves_files,
    picture,
    srsmas_files,
    unpacked,
    zip_bytes,
    zipped,
)


@pytest.fixture(params=WAYS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Files], Path]:
    """Writes files in each of the ways that a data set may lie on a disk."""
    return lambda files: WAYS[request.param](files, tmp_path)


def read(source: str, root: object) -> Source:
    return read_source(DataConfig(source=source, root=str(root)))


def refusal(source: str, root: object) -> str:
    with pytest.raises(UserError) as error:
        read(source, root)
    assert error.value.key == "data.root"
    return str(error.value)


def counts(source: Source) -> dict[str, int]:
    return dict(Counter(record.label for record in source.records))


def opens(source: Source) -> bool:
    """Whether all images can be decoded, and no name stands twice."""
    for record in source.records:
        record.picture.open().load()
    return len({record.name for record in source.records}) == len(source.records)


def test_digits_are_scikit_learns_at_256_levels() -> None:
    source = read_source(DataConfig(source="digits"))
    digits = load_digits()
    assert source.classes == tuple("0123456789")
    assert [int(record.label) for record in source.records] == digits.target.tolist()
    assert len({record.name for record in source.records}) == 1797
    for i in (0, 7, 1796):
        image = source.records[i].picture.open()
        assert image.size == (8, 8)
        assert np.abs(np.asarray(image) - digits.images[i] * 255 / 16).max() <= 0.5
    assert len({record.picture.digest() for record in source.records}) == len(
        np.unique(digits.images, axis=0)
    )
    assert not source.warnings


def test_digits_need_no_root_and_say_that_they_read_none(tmp_path: Path) -> None:
    assert str(tmp_path) in read("digits", tmp_path).warnings[0].text


def test_an_unknown_source_names_the_nearest() -> None:
    for name, nearest in (("digts", "digits"), ("ham", "ham10000"), ("fashion", "fashion-mnist")):
        with pytest.raises(UserError, match=f"'{name}'; did you mean {nearest}") as error:
            read_source(DataConfig(source=name))
        assert error.value.key == "data.source"


@pytest.mark.parametrize("source", READERS)
def test_a_root_that_is_not_there(source: str, tmp_path: Path) -> None:
    for root in ("no/imgs", tmp_path / "imgs.zip", tmp_path / "a b" / "list.csv"):
        line = refusal(source, root)
        assert f"{str(root)!r}" in line
        assert "no such" in line


@pytest.mark.parametrize("source", sorted(set(READERS) - {"digits", "fashion-mnist"}))
def test_a_source_that_needs_a_root(source: str) -> None:
    with pytest.raises(UserError, match=f"null, and the source {source} needs") as error:
        read_source(DataConfig(source=source))
    assert error.value.key == "data.root"


@pytest.mark.parametrize("source", sorted(set(READERS) - {"digits", "csv"}))
def test_an_empty_folder_and_an_empty_archive(source: str, tmp_path: Path) -> None:
    for root in (unpacked({}, tmp_path / "empty"), zipped({}, tmp_path / "empty.zip")):
        assert str(root) in refusal(source, root)


def test_busi_is_read_without_its_masks(write: Callable[[Files], Path]) -> None:
    source = read("busi", write(busi_files()))
    assert source.classes == BUSI_CLASSES
    assert counts(source) == {"benign": 44, "malignant": 21, "normal": 15}
    assert {Path(record.name).name for record in source.records} == {
        f"{label} ({i}).png" for label, n in counts(source).items() for i in range(1, n + 1)
    }
    assert not source.problems
    assert not source.warnings
    assert len({record.picture.open().size for record in source.records}) > 20
    assert opens(source)


def test_busi_at_the_folder_itself(tmp_path: Path) -> None:
    root = unpacked(busi_files(), tmp_path)
    inner = read("busi", root / "Dataset_BUSI_with_GT")
    assert counts(inner) == counts(read("busi", root))
    assert inner.records[0].name == "benign/benign (1).png"


def test_busi_beside_its_archive_is_read_once(tmp_path: Path) -> None:
    zipped(busi_files(), tmp_path / "busi.zip")
    unpacked(busi_files(), tmp_path)
    assert len(read("busi", tmp_path).records) == 80
    assert not read("busi", tmp_path).warnings
    unpacked(busi_files(wrapper="old/copy"), tmp_path)
    source = read("busi", tmp_path)
    assert len(source.records) == 80
    (warning,) = map(str, source.warnings)
    assert "'Dataset_BUSI_with_GT' is read, 'old/copy' not" in warning


def test_busi_with_masks_only_a_class_missing_or_a_stray_image(tmp_path: Path) -> None:
    masks = {f"set/{label}/{label} (1)_mask.png": picture(0, 0) for label in BUSI_CLASSES}
    line = refusal("busi", unpacked(masks, tmp_path / "1"))
    assert "'set/benign', 'set/malignant', 'set/normal'" in line
    files = busi_files({"benign": 3, "malignant": 3}, wrapper="")
    files |= {"stray.png": picture(0, 0), "readme.txt": b"", "other/1.png": picture(0, 0)}
    source = read("busi", unpacked(files, tmp_path / "2"))
    assert source.classes == ("benign", "malignant")
    assert [problem.name for problem in source.problems] == ["stray.png"]
    assert any("'normal'" in warning for warning in map(str, source.warnings))
    assert any("'other' (1 image)" in warning for warning in map(str, source.warnings))
    assert any("1 .txt" in warning for warning in map(str, source.warnings))
    assert len(source.warnings) == 3


def test_leaves_are_read_and_fruits_are_not(write: Callable[[Files], Path]) -> None:
    source = read("leaves", write(leaves_files()))
    assert source.classes == LEAVES_CLASSES
    assert counts(source) == dict.fromkeys(LEAVES_CLASSES, 24)
    assert not any("Fruits" in record.name for record in source.records)
    assert opens(source)
    (warning,) = map(str, source.warnings)
    assert "'Melanose' (3 images)" in warning
    assert not source.problems


@pytest.mark.parametrize("wrapper", ["Leaves", "citrus/leaves", ""])
def test_leaves_in_other_places_and_cases(wrapper: str, tmp_path: Path) -> None:
    labels = {"Black Spot": 2, "Canker": 3, "GREENING": 4, "healthy": 5}
    source = read("leaves", unpacked(leaves_files(labels, wrapper, melanose=0), tmp_path))
    assert counts(source) == dict(zip(LEAVES_CLASSES, (2, 3, 4, 5), strict=True))
    assert not source.warnings


def test_fruits_alone_are_no_leaves(tmp_path: Path) -> None:
    files = {name: data for name, data in leaves_files().items() if "Fruits" in name}
    assert "Citrus/Leaves" in refusal("leaves", unpacked(files, tmp_path))


def test_srsmas_below_any_wrapper(write: Callable[[Files], Path]) -> None:
    source = read("srsmas", write(srsmas_files(dict.fromkeys(SRSMAS_CLASSES, 2))))
    assert source.classes == SRSMAS_CLASSES
    assert counts(source) == dict.fromkeys(SRSMAS_CLASSES, 2)
    assert not source.warnings
    assert not source.problems
    assert opens(source)


def test_srsmas_beside_other_data_sets(tmp_path: Path) -> None:
    files = srsmas_files(dict.fromkeys(SRSMAS_CLASSES, 2), wrapper="corals/small (SRSMAS)")
    files |= below("EILAT", srsmas_files({"A": 2, "B": 3, "C": 2}, wrapper=""))
    source = read("srsmas", unpacked(files, tmp_path))
    assert source.classes == SRSMAS_CLASSES
    assert not source.warnings
    assert not source.problems


def test_srsmas_of_other_than_14_classes_is_a_warning(tmp_path: Path) -> None:
    labels = dict.fromkeys(SRSMAS_CLASSES[:13], 2)
    (warning,) = map(str, read("srsmas", unpacked(srsmas_files(labels), tmp_path / "13")).warnings)
    assert "14 classes, and here are 13" in warning
    root = unpacked(srsmas_files(dict.fromkeys(SRSMAS_CLASSES, 2)), tmp_path / "2")
    unpacked(srsmas_files(dict.fromkeys(SRSMAS_CLASSES, 1), wrapper="a/copy"), root)
    (warning,) = map(str, read("srsmas", root).warnings)
    assert "'SRSMAS' is read, 'a/copy' not" in warning


@pytest.mark.parametrize("source", ["ham10000", "busi", "leaves", "srsmas"])
def test_entries_that_an_archive_may_not_hold_are_problems(source: str, tmp_path: Path) -> None:
    files = {
        "ham10000": ham10000_files({"nv": 4, "mel": 4}),
        "busi": busi_files({"benign": 3, "malignant": 3, "normal": 3}),
        "leaves": leaves_files(dict.fromkeys(LEAVES_CLASSES, 3), melanose=0),
        "srsmas": srsmas_files(dict.fromkeys(SRSMAS_CLASSES, 2)),
    }[source]
    whole = read(source, zipped(files, tmp_path / "good.zip"))
    assert not whole.problems
    spoilt = read(source, zipped(files | {"../../out.png": b"x"}, tmp_path / "bad.zip"))
    assert [problem.name for problem in spoilt.problems] == ["../../out.png"]
    assert spoilt.records != ()
    assert counts(spoilt) == counts(whole)


def test_an_archive_that_was_not_copied_whole(tmp_path: Path) -> None:
    (tmp_path / "Dataset_BUSI.zip").write_bytes(zip_bytes(busi_files())[:-60])
    for root in (tmp_path, tmp_path / "Dataset_BUSI.zip"):
        assert "Dataset_BUSI.zip" in refusal("busi", root)
