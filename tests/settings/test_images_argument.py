"""A path of images in the place of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from revo_ray.data.files.archive import _TAR, _ZIP
from revo_ray.data.files.formats import extensions
from revo_ray.settings.images_argument import SOURCES, images_settings
from revo_ray.settings.schema import SearchConfig


@pytest.mark.parametrize(
    ("argument", "source", "name"),
    [
        ("photos.zip", "folder", "photos"),
        ("a/b/Photos.TAR.GZ", "folder", "Photos"),
        ("photos.tar.zst", "folder", "photos"),
        ("notes.gz", None, ""),
        ("list.csv", "csv", "list"),
        ("list.tsv", "csv", "list"),
        ("data/train-0.parquet", "parquet", "train-0"),
        ("s3://bucket/my photos/?region=x", "folder", "my-photos"),
        ("s3://bucket/list.csv?region=x", "csv", "list"),
        ("search.yaml", None, ""),
        ("preset:quickstart", None, ""),
        ("search", None, ""),
    ],
)
def test_the_ending_says_the_reader(argument: str, source: str | None, name: str) -> None:
    found = images_settings(argument)
    if source is None:
        assert found is None
    else:
        assert found == {"name": name, "data": {"source": source, "root": argument}}


def test_archives_are_those_that_are_opened() -> None:
    """Settings may not import the readers, so both have a list of endings."""
    known = {ending for ending, source in SOURCES.items() if source == "folder"}
    assert known == {*_ZIP, *_TAR}


def test_a_folder_is_read_by_what_it_holds(tmp_path: Path) -> None:
    folder = tmp_path / "my images #2"
    (folder / "data").mkdir(parents=True)
    config = SearchConfig.load(str(folder))
    assert (config.data.source, config.data.root) == ("folder", str(folder))
    assert (config.name, config.data.train_fraction) == ("my-images-2", "rest")
    (folder / "data" / "train-00000-of-00001.parquet").touch()
    assert SearchConfig.load(str(folder)).data.source == "parquet"
    (folder / "data" / ".thumbnail.png").touch()
    (folder / "data" / "README.md").touch()
    assert SearchConfig.load(str(folder)).data.source == "parquet"


@pytest.mark.parametrize("ending", sorted({*extensions(), ".TIFF"}))
def test_a_folder_with_an_image_of_any_kind_holds_no_tables(tmp_path: Path, ending: str) -> None:
    """However many other files are listed before it."""
    for number in range(1100 if ending == ".webp" else 1):
        (tmp_path / f"{number}.parquet").touch()
    (tmp_path / f"picture{ending}").touch()
    assert SearchConfig.load(str(tmp_path)).data.source == "folder"


def test_settings_override_what_the_path_says(tmp_path: Path) -> None:
    config = SearchConfig.load(str(tmp_path), ["data.source=busi", "name=other"])
    assert (config.data.source, config.name) == ("busi", "other")
