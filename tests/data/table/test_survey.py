"""Surveys: each picture is read once, also after a kill; changed and bad ones are read again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from revo_ray.data.files import archive, stored_file
from revo_ray.data.files.decode import square
from revo_ray.data.image_records import Record
from revo_ray.data.inspect import inspect
from revo_ray.data.near_duplicates.image_hashes import ImageHashes
from revo_ray.data.sources import read_source
from revo_ray.data.table import spool
from revo_ray.data.table.fingerprint import survey_name
from revo_ray.data.table.image_table import prepare_table
from revo_ray.data.table.survey import Survey
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

COUNT = 24


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "pets"
    for i in range(COUNT):
        label = root / ("cat" if i % 2 else "dog")
        label.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(label / f"{i:02d}.png")
    return root


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Number of times that each file is read."""
    monkeypatch.setattr(stored_file, "RECENT_NS", 0)
    counts: Counter[str] = Counter()
    for kind in (stored_file.StoredFile, archive.Entry):

        def read(self: Any, original: Any = kind.read) -> bytes:
            counts[getattr(self, "path", None) or self.info.filename] += 1
            return original(self)

        monkeypatch.setattr(kind, "read", read)
    return counts


def config(root: Path, **keys: Any) -> DataConfig:
    parts = dict.fromkeys(("train_fraction", "validation_fraction", "test_fraction"), 0.3)
    return DataConfig(source="folder", root=str(root), image_size=8, **parts | keys)


def records(root: Path) -> tuple[Record, ...]:
    return read_source(config(root)).records


def test_each_file_is_read_once_by_inspect_and_search_together(
    root: Path, tmp_path: Path, reads: Counter[str]
) -> None:
    inspect(config(root), tmp_path / "tables")
    assert set(reads.values()) == {1}
    assert len(reads) == COUNT
    table = prepare_table(config(root), tmp_path / "tables", must_split=True)
    prepare_table(config(root), tmp_path / "tables", must_split=True)
    assert inspect(config(root), tmp_path / "tables").table == table.path
    assert reads.total() == COUNT
    for i, name in enumerate(table.names):
        assert np.array_equal(table.images[i], square(Image.open(root / name), 8))


def test_each_entry_of_an_archive_is_read_once(
    root: Path, tmp_path: Path, reads: Counter[str]
) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", root))
    prepare_table(config(packed), tmp_path / "tables")
    assert set(reads.values()) == {1}
    assert len(reads) == COUNT


def test_only_files_that_changed_are_read_again(
    root: Path, tmp_path: Path, reads: Counter[str]
) -> None:
    inspect(config(root), tmp_path / "tables")
    reads.clear()
    Image.new("RGB", (9, 9), (200, 9, 9)).save(root / "cat" / "03.png")
    (root / "cat" / "new.png").write_bytes((root / "cat" / "05.png").read_bytes())
    found = inspect(config(root), tmp_path / "tables")
    changed = {str(root / "cat" / name) for name in ("03.png", "new.png")}
    assert dict(reads) == dict.fromkeys(changed, 1)
    assert found.counts.sum() == COUNT + 1
    table = prepare_table(config(root), tmp_path / "tables")
    assert table.images[table.names.index("cat/03.png")][:, 4, 4].tolist() == [200, 9, 9]
    assert reads.total() == 2


def test_another_table_of_the_same_pictures_decodes_and_does_not_hash(
    root: Path, tmp_path: Path, reads: Counter[str]
) -> None:
    """Squares are kept until a table holds them."""
    first = prepare_table(config(root), tmp_path / "tables")
    second = prepare_table(config(root, near_duplicates="drop"), tmp_path / "tables")
    assert set(reads.values()) == {2}
    assert first.path != second.path
    assert np.array_equal(first.images, second.images)


def test_bad_pictures_are_told_and_tried_again(
    root: Path, tmp_path: Path, reads: Counter[str]
) -> None:
    good = (root / "cat" / "01.png").read_bytes()
    (root / "cat" / "01.png").write_bytes(good[:60])
    (root / "cat" / "03.png").write_bytes(b"")
    skipping = config(root, on_bad_image="skip")
    found = inspect(skipping, tmp_path / "tables")
    assert [problem.name for problem in found.problems] == ["cat/01.png", "cat/03.png"]
    reads.clear()
    table = prepare_table(skipping, tmp_path / "tables")
    assert table.skipped == found.problems
    assert set(reads) == {str(root / "cat" / name) for name in ("01.png", "03.png")}
    reads.clear()
    assert prepare_table(skipping, tmp_path / "tables").path == table.path
    assert not reads  # the table is ready
    with pytest.raises(UserError, match="2 images cannot be used"):
        prepare_table(config(root), tmp_path / "tables")
    (root / "cat" / "01.png").write_bytes(good)
    assert len(prepare_table(skipping, tmp_path / "tables").images) == COUNT - 1


def test_a_file_that_changes_between_look_and_table_is_refused(root: Path, tmp_path: Path) -> None:
    inspect(config(root), tmp_path / "tables")
    for path in (tmp_path / "tables").glob("*.squares"):
        path.unlink()
    changed = root / "cat" / "03.png"
    with Survey.open(config(root), tmp_path / "tables") as survey:
        found = records(root)
        rows = survey.find(found)
        if not rows.all():  # the files are so young that their stamps are never the same
            survey.look(found, rows)
            survey.drop_squares()
        Image.new("RGB", (9, 9)).save(changed)
        with pytest.raises(UserError, match=r"'cat/03\.png' has just changed"):
            list(survey.squares(found, rows))
        changed.unlink()
        with pytest.raises(UserError, match=r"cannot read 'cat/03\.png' any more"):
            list(survey.squares(found, rows))


@pytest.mark.parametrize("harm", ["cut", "noise", "gone"])
def test_a_damaged_spool_spoils_no_table(
    root: Path, tmp_path: Path, harm: str, reads: Counter[str]
) -> None:
    expected = prepare_table(config(root), tmp_path / "other").path.read_bytes()
    reads.clear()
    inspect(config(root), tmp_path / "tables")
    (squares,) = (tmp_path / "tables").glob("*.squares")
    content = bytearray(squares.read_bytes())
    content[500:700] = bytes(200)
    if harm == "gone":
        squares.unlink()
    else:
        squares.write_bytes(content if harm == "noise" else content[:1000])
    assert prepare_table(config(root), tmp_path / "tables").path.read_bytes() == expected
    again = sum(count == 2 for count in reads.values())
    assert {"cut": again > 10, "noise": 0 < again < 4, "gone": again == COUNT}[harm]


@pytest.mark.parametrize("content", [b"", b"no database" * 100, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_survey_is_as_good_as_none(root: Path, tmp_path: Path, content: bytes) -> None:
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / survey_name(config(root))).write_bytes(content)
    assert len(prepare_table(config(root), tables).images) == COUNT


def test_a_full_disk_is_not_filled_with_squares(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda path: usage)
    inspect(config(root), tmp_path / "tables")
    assert list((tmp_path / "tables").glob("*.squares")) == []
    assert len(prepare_table(config(root), tmp_path / "tables").images) == COUNT


def test_a_folder_that_cannot_be_written_is_no_obstacle_to_looking(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert inspect(config(root), tmp_path / "file" / "tables").counts.sum() == COUNT
    with pytest.raises(UserError, match="cannot write an image table"):
        prepare_table(config(root), tmp_path / "file" / "tables")


def test_intensities_are_spooled_and_hashed_within_their_own_range(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    deep = rng.normal(0, 900, (1, 40, 40)).astype(np.float32)
    deep[0, 0, 0] = np.nan
    kept = spool.Spool(tmp_path / "x.survey", 40)
    kept.make_room(10)
    kept.write(3, deep)
    kept.write(4, np.ones((3, 40, 40), np.uint8))
    assert any(np.array_equal(found, deep, equal_nan=True) for found in kept.read(3))
    first, second = ImageHashes.of(deep), ImageHashes.of(deep * np.float32(3) + 50)
    assert first.perceptual == second.perceptual
    assert first.pixels != second.pixels
    assert ImageHashes.of(np.full((1, 8, 8), np.nan, np.float32)).perceptual == b""


KILLED = """
import sys, time
from pathlib import Path
from revo_ray.data.files.image_files import File
from revo_ray.data.table import survey
from revo_ray.data.table.image_table import prepare_table
from tests.data.table.test_survey import config

survey.COMMIT_S = 0
load = File.load
File.load = lambda self: (time.sleep(0.02), load(self))[1]
say = lambda done, total: print(done, flush=True)
prepare_table(config(Path(sys.argv[1])), Path(sys.argv[2]), say)
"""


@pytest.mark.sample(2)
@pytest.mark.slow
@pytest.mark.parametrize("done", [1, 8, 15, COUNT])
def test_a_preparation_that_was_killed_goes_on_where_it_was(
    root: Path, tmp_path: Path, done: int, reads: Counter[str]
) -> None:
    whole = prepare_table(config(root), tmp_path / "other").path.read_bytes()
    old = time.time() - 3600
    for path in root.rglob("*.png"):
        os.utime(path, (old, old))
    time.sleep(2.1)  # the time of change of a young file says nothing
    tables = tmp_path / "tables"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root), str(tables)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= done:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    reads.clear()
    table = prepare_table(config(root), tables)
    assert len(reads) <= COUNT - done + 1
    assert set(reads.values()) <= {1}
    assert table.path.read_bytes() == whole


def test_a_zip_of_damaged_entries_tells_each(root: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", root))
    with zipfile.ZipFile(packed) as opened:
        at = opened.getinfo("cat/03.png").header_offset + 60
    content = bytearray(packed.read_bytes())
    content[at] ^= 0xFF
    packed.write_bytes(content)
    found = inspect(config(packed), tmp_path / "tables")
    assert [tuple(problem) for problem in found.problems] == [
        ("cat/03.png", "damaged in its zip archive")
    ]
