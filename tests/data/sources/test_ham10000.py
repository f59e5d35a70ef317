"""HAM10000: every layout in which it comes, and metadata that does not match the images."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import pytest

from revo_ray.data.image_records import Source
from revo_ray.data.sources import read_source
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import (
    HAM10000_CLASSES,
    WAYS,
    Files,
    ham10000_files,
    picture,
    unpacked,
    zipped,
)


def read(root: object) -> Source:
    return read_source(DataConfig(source="ham10000", root=str(root)))


def refusal(root: object) -> str:
    with pytest.raises(UserError) as error:
        read(root)
    assert error.value.key == "data.root"
    return str(error.value)


def counts(source: Source) -> dict[str, int]:
    return dict(Counter(record.label for record in source.records))


def opens(source: Source) -> bool:
    """Whether all images can be decoded, and no name stands twice."""
    for record in source.records:
        record.picture.open().load()
    return len({record.name for record in source.records}) == len(source.records)


def metadata_of(files: Files) -> list[dict[str, str]]:
    """The table, as another reader sees it."""
    (name,) = (name for name in files if "metadata" in name)
    text = io.StringIO(files[name].decode())
    return list(csv.DictReader(text, delimiter="\t" if name.endswith(".tab") else ","))


@pytest.mark.parametrize("metadata", ["csv", "tab", ""])
@pytest.mark.parametrize("images", ["folders", "zips", "merged"])
def test_in_each_layout(metadata: str, images: str, tmp_path: Path) -> None:
    files = ham10000_files(
        dict.fromkeys(HAM10000_CLASSES, 4),
        metadata=f"HAM10000_metadata.{metadata}".rstrip("."),
        images=images,
        segmentations=images == "zips",
    )
    source = read(unpacked(files, tmp_path / "skin (dataverse)"))
    table = metadata_of(files)
    assert [Path(record.name).stem for record in source.records] == [r["image_id"] for r in table]
    assert [record.label for record in source.records] == [row["dx"] for row in table]
    assert [record.group for record in source.records] == [row["lesion_id"] for row in table]
    assert max(Counter(record.group for record in source.records).values()) == 3
    assert source.classes == HAM10000_CLASSES
    assert opens(source)
    assert not source.problems
    assert len(source.warnings) == (images == "zips")  # of the masks


@pytest.mark.parametrize("way", WAYS)
def test_as_one_archive_that_holds_every_image_twice(way: str, tmp_path: Path) -> None:
    files = ham10000_files(dict.fromkeys(HAM10000_CLASSES, 3), lowercase_copy=True)
    source = read(WAYS[way](files, tmp_path))
    assert len(source.records) == 21
    assert len({Path(record.name).name for record in source.records}) == 21
    assert not source.problems
    assert not source.warnings
    assert opens(source)


def test_archives_within_an_archive_are_named(tmp_path: Path) -> None:
    files = ham10000_files({"nv": 3, "mel": 3}, images="zips")
    line = refusal(zipped(files, tmp_path / "dataverse_files.zip"))
    assert "'HAM10000_images_part_1.zip'" in line
    assert "not opened" in line


def test_keeps_the_order_of_the_classes_that_occur(tmp_path: Path) -> None:
    source = read(unpacked(ham10000_files({"vasc": 2, "nv": 9, "bcc": 2}), tmp_path))
    assert source.classes == ("bcc", "nv", "vasc")
    assert counts(source) == {"vasc": 2, "nv": 9, "bcc": 2}


def test_rows_and_images_that_do_not_match(tmp_path: Path) -> None:
    files = ham10000_files({"nv": 4, "mel": 4})
    gone, spare = list(files)[2], "HAM10000_images_part_2/ISIC_9999999.jpg"
    files[spare] = files.pop(gone)
    files["HAM10000_metadata.csv"] += (
        b"HAM_9,ISIC_9999990,xyz,histo,,male,back,x\n"
        b"HAM_9,ISIC_9999991,,histo,,male,back,x\n"
        b",ISIC_9999992,nv,histo,,male,back,x\n"
        b"HAM_9,,nv,histo,,male,back,x\n"
    )
    source = read(unpacked(files, tmp_path))
    assert len(source.records) == 7
    assert source.classes == ("mel", "nv")
    causes = dict(source.problems)
    assert "no image" in causes[Path(gone).stem]
    assert "line 3" in causes[Path(gone).stem]
    assert "'xyz'" in causes["ISIC_9999990"]
    assert "no dx" in causes["ISIC_9999991"]
    assert "no lesion_id" in causes["ISIC_9999992"]
    assert len(causes) == 5
    (warning,) = map(str, source.warnings)
    assert spare in warning


def test_an_image_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    files = ham10000_files({"nv": 4, "mel": 4})
    gone = next(name for name in files if name.endswith(".jpg"))
    del files[gone]
    root = unpacked(files, tmp_path)
    (root / gone).symlink_to(tmp_path / "nothing")
    assert [problem.name for problem in read(root).problems] == [gone]


def test_rows_that_stand_twice(tmp_path: Path) -> None:
    files = ham10000_files({"nv": 4, "mel": 4})
    rows = files["HAM10000_metadata.csv"].splitlines(keepends=True)
    other = rows[2].replace(b",nv,", b",?,").replace(b",mel,", b",nv,").replace(b",?,", b",mel,")
    files["HAM10000_metadata.csv"] += rows[1] + other + rows[2]
    source = read(unpacked(files, tmp_path))
    assert len(source.records) == 7  # the repeated one stays, the one of two dx goes
    ((name, cause),) = source.problems
    assert name.encode() in rows[2]
    assert "line 3" in cause
    assert "line 11" in cause


def test_without_metadata_images_or_a_second_class(tmp_path: Path) -> None:
    files = ham10000_files({"nv": 4, "mel": 4})
    pictures = {name: content for name, content in files.items() if name.endswith(".jpg")}
    assert "HAM10000_metadata.csv" in refusal(unpacked(pictures, tmp_path / "1"))
    table = {"HAM10000_metadata.csv": files["HAM10000_metadata.csv"]}
    assert "HAM10000_images_part_1" in refusal(unpacked(table, tmp_path / "2"))
    other = {"HAM10000_metadata.csv": b"image,label\nx,y\n"}
    assert "'image_id', 'lesion_id', 'dx'" in refusal(unpacked(other, tmp_path / "3"))
    alone = ham10000_files({"nv": 4})
    assert "one class only, 'nv'" in refusal(unpacked(alone, tmp_path / "4"))


def test_images_of_one_name_and_two_contents(tmp_path: Path) -> None:
    files = ham10000_files({"nv": 4, "mel": 4})
    name = next(name for name in files if name.endswith(".jpg"))
    files["masks/" + Path(name).with_suffix(".png").name] = picture(0, 0, kind="PNG")
    root = unpacked(files, tmp_path)
    assert not read(root).warnings  # a mask is no second image
    unpacked({f"small/{Path(name).name}": picture(0, 0, (9, 9))}, root)
    (warning,) = map(str, read(root).warnings)
    assert name in warning
    assert name in {record.name for record in read(root).records}
