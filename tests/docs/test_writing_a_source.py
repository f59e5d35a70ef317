"""The programs of `docs/writing-a-source.md` read a folder of images as the page says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from revo_ray.cli.main import main
from revo_ray.data.sources import READERS, read_source
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import picture, unpacked, zipped
from tests.docs.test_docs import snippet

FILES = {
    f"scans/{label}_p{patient:02d}_{number}.jpg": picture(tint, 10 * patient + number)
    for tint, label in enumerate(("benign", "malignant"))
    for patient in range(15)
    for number in range(2)
}


def groups(config: DataConfig) -> dict[str, tuple[str, str]]:
    """Label and group of each image, by the name of its file."""
    records = read_source(config).records
    return {each.name.rpartition("/")[2]: (each.label, str(each.group)) for each in records}


def test_the_table_of_the_page_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(unpacked(FILES, tmp_path))
    exec(snippet("writing-a-source.md", "write_table.py"), {})
    found = groups(DataConfig(source="csv", root="labels.csv"))
    assert found["benign_p07_1.jpg"] == ("benign", "p07")
    assert len(found) == len(FILES)

    monkeypatch.setattr(sys, "argv", ["revo-ray", "data", "inspect", "labels.csv"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert "60 images in 2 classes" in capsys.readouterr().out


def test_the_source_of_the_page_reads_folders_and_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: dict[str, Any] = {}
    exec(snippet("writing-a-source.md", "revo_ray/data/sources/named.py"), module)
    monkeypatch.setitem(dict_of(READERS), "named", module["read"])
    files = FILES | {"scans/odd.jpg": picture(0, 999)}
    folder = DataConfig(source="named", root=str(unpacked(files, tmp_path / "folder")))
    archive = DataConfig(source="named", root=str(zipped(files, tmp_path / "scans.zip")))
    assert groups(folder) == groups(archive)
    assert groups(folder)["malignant_p03_0.jpg"] == ("malignant", "malignant p03")
    (problem,) = read_source(folder).problems
    assert problem.name == "scans/odd.jpg"


def dict_of(readers: Any) -> dict[str, Any]:
    """The table of readers, which is typed as one that nobody changes."""
    assert isinstance(readers, dict)
    return readers
