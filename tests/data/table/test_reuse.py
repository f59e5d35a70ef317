"""A table from files: found again without reading one, made anew when one has changed."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from revo_ray.data.files import archive, stored_file
from revo_ray.data.table.image_table import prepare_table
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "pets"
    for i in range(12):
        label = root / ("cat" if i % 2 else "dog")
        label.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(label / f"{i}.bmp")
    return root


def config(root: Path, **options: Any) -> DataConfig:
    return DataConfig(source="folder", root=str(root), image_size=8, **options)


def fail(*_: object) -> None:
    pytest.fail("an image was read")


def test_a_second_start_reads_no_image(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_file, "RECENT_NS", 0)
    first = prepare_table(config(root), tmp_path / "tables")
    monkeypatch.setattr(stored_file.StoredFile, "read", fail)
    assert prepare_table(config(root), tmp_path / "tables").path == first.path
    with pytest.raises(pytest.fail.Exception):
        prepare_table(config(root), tmp_path / "other tables")


def test_files_that_have_just_changed_are_read_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may change once more without their times telling."""
    monkeypatch.setattr(stored_file, "RECENT_NS", 10**12)
    prepare_table(config(root), tmp_path / "tables")
    monkeypatch.setattr(stored_file.StoredFile, "read", fail)
    with pytest.raises(pytest.fail.Exception):
        prepare_table(config(root), tmp_path / "tables")


def test_a_zip_archive_is_known_by_its_directory(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", root))
    first = prepare_table(config(packed), tmp_path / "tables")
    monkeypatch.setattr(archive.Entry, "read", fail)
    assert prepare_table(config(packed), tmp_path / "tables").path == first.path
    with zipfile.ZipFile(packed, "a") as more:
        more.write(root / "cat" / "1.bmp", "cat/again.bmp")
    monkeypatch.undo()
    assert prepare_table(config(packed), tmp_path / "tables").path != first.path


def test_one_byte_of_one_image_is_another_table(root: Path, tmp_path: Path) -> None:
    """The file keeps its size, and its old time of change is put back."""
    first = prepare_table(config(root), tmp_path / "tables")
    changed = root / "cat" / "3.bmp"
    status = changed.stat()
    content = bytearray(changed.read_bytes())
    content[-1] ^= 0xFF
    changed.write_bytes(content)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = prepare_table(config(root), tmp_path / "tables")
    assert second.path != first.path
    assert second.names == first.names
    different = np.asarray(second.images) != np.asarray(first.images)
    assert [second.names[i] for i in np.unique(different.nonzero()[0])] == ["cat/3.bmp"]


def test_the_same_images_elsewhere_are_the_same_table(root: Path, tmp_path: Path) -> None:
    first = prepare_table(config(root), tmp_path / "tables")
    moved = shutil.copytree(root, tmp_path / "moved")
    assert prepare_table(config(moved), tmp_path / "tables").path == first.path


def test_bad_images_are_found_anew_once_they_are_mended(root: Path, tmp_path: Path) -> None:
    bad = root / "cat" / "3.bmp"
    good = bad.read_bytes()
    bad.write_bytes(good[:100])
    skipping = config(root, on_bad_image="skip")
    table = prepare_table(skipping, tmp_path / "tables")
    assert [problem.name for problem in table.skipped] == ["cat/3.bmp"]
    assert len(table.images) == 11
    bad.write_bytes(good)
    assert len(prepare_table(skipping, tmp_path / "tables").images) == 12


def test_what_cannot_be_split_is_refused_before_an_image_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig(train_fraction=0.001)
    monkeypatch.setattr(
        "revo_ray.data.table.image_table.write_table", lambda *arguments: pytest.fail("decoded")
    )
    with pytest.raises(UserError, match=r"data\.train_fraction: 0\.001 of 1797 images"):
        prepare_table(config, tmp_path, must_split=True)
