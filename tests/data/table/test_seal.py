"""Cached files that others may have changed are told from this user's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from revo_ray.data.table import seal as seals
from revo_ray.data.table.disk import file_sha256
from revo_ray.data.table.image_table import prepare_table
from revo_ray.data.table.seal import private, seal, trusted
from revo_ray.settings.schema import DataConfig


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REVO_RAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path, cache: Path) -> Path:
    path = tmp_path / "a.arrow"
    path.write_bytes(b"pixels")
    path.chmod(0o666)  # a seal counts where anybody may write
    return path


def test_a_file_fits_its_seal_until_it_or_its_name_changes(file: Path) -> None:
    assert not trusted(file)
    seal(file)
    assert trusted(file)
    other = file.with_name("b.arrow")
    shutil.copy(file, other)
    shutil.copy(f"{file}.seal", f"{other}.seal")
    other.chmod(0o644)
    assert not trusted(other)  # another file under the name of this one
    file.write_bytes(b"PIXELS")
    file.chmod(0o644)
    assert not trusted(file)


def test_no_one_else_can_write_a_seal(file: Path, cache: Path) -> None:
    assert cache.exists() is False
    seal(file)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert (cache / "key").stat().st_mode & 0o777 == 0o600
    (cache / "key").write_bytes(os.urandom(32))  # another user's
    seal(file)
    theirs = Path(f"{file}.seal").read_text()
    (cache / "key").unlink()
    seal(file)
    Path(f"{file}.seal").write_text(theirs)
    assert not trusted(file)


def test_a_key_that_others_can_read_is_none(file: Path, cache: Path) -> None:
    seal(file)
    (cache / "key").chmod(0o644)
    assert not trusted(file)
    file.chmod(0o644)
    assert trusted(file)


def test_a_file_without_a_seal_must_be_private(file: Path, tmp_path: Path) -> None:
    for mode, own in {0o644: True, 0o600: True, 0o664: False, 0o646: False}.items():
        file.chmod(mode)
        assert (private(file), trusted(file)) == (own, own)
    file.chmod(0o644)
    (tmp_path / "link").symlink_to(file)
    assert not private(tmp_path / "link")
    if os.getuid() == 0:
        os.chown(file, 12345, -1)
        assert not trusted(file)


def test_a_home_that_cannot_be_written_seals_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVO_RAY_CACHE", "/proc/no/such")
    seal(file)
    assert not Path(f"{file}.seal").exists()


def test_a_checksum_is_computed_once_and_again_after_a_change(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = file_sha256(file)
    with monkeypatch.context() as patch:
        patch.setattr(seals.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
        assert file_sha256(file) == first
    file.write_bytes(b"PIXELS")
    assert file_sha256(file) != first


def test_a_table_and_a_survey_that_others_can_change_are_made_anew(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tables"
    table = prepare_table(DataConfig(image_size=8), folder)
    written = table.path.stat().st_ino
    assert prepare_table(DataConfig(image_size=8), folder).path.stat().st_ino == written
    content = bytearray(table.path.read_bytes())
    content[5000] ^= 1
    table.path.write_bytes(content)
    assert prepare_table(DataConfig(image_size=8), folder).sha256 == table.sha256
    (survey,) = folder.glob("*.survey")
    before = survey.stat().st_ino
    prepare_table(DataConfig(image_size=8), folder)
    assert survey.stat().st_ino == before
    survey.chmod(0o666)
    prepare_table(DataConfig(image_size=8), folder)
    assert survey.stat().st_ino != before or survey.stat().st_mode & 0o022 == 0
