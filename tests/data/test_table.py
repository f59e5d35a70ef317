"""The table: right pixels, written once, mapped and not read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from revo_ray.config import DataConfig
from revo_ray.data import table as table_module
from revo_ray.data.sources import Record, Source
from revo_ray.data.table import Table, prepare_table
from revo_ray.errors import UserError

SMALL = DataConfig(image_size=8)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts records of the test's own in the place of the configured source."""

    def install(*records: Record, fingerprint: str = "f") -> None:
        classes = tuple(sorted({record.label for record in records}))
        made = Source(classes, records, fingerprint)
        monkeypatch.setattr(table_module, "read_source", lambda config: made)

    return install


def test_digits_keep_their_pixels_and_labels(tmp_path: Path) -> None:
    table = prepare_table(SMALL, tmp_path / "cache")
    digits = load_digits()
    assert table.images.shape == (1797, 3, 8, 8)
    assert table.images.dtype == np.uint8
    expected = np.rint(digits.images * 255 / 16).astype(np.uint8)
    assert np.array_equal(table.images, np.repeat(expected[:, None], 3, axis=1))
    assert table.labels.dtype == np.int64
    assert np.array_equal(table.labels, digits.target)
    assert table.classes == tuple("0123456789")
    assert table.names[7] == "digit-0007"
    assert table.groups is None


def test_shorter_side_is_resized_and_the_centre_cut(
    tmp_path: Path, source: Callable[..., None]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 60, 3), dtype=np.uint8)
    wide = Image.fromarray(noise)
    tall = wide.transpose(Image.Transpose.ROTATE_90)
    source(Record("wide", "a", lambda: wide), Record("tall", "a", lambda: tall))
    for size in (10, 40):
        images = prepare_table(DataConfig(image_size=size), tmp_path).images
        resized = np.asarray(wide.resize((3 * size, size), Image.Resampling.BICUBIC))
        expected = resized[:, size : 2 * size].astype(int)
        assert np.abs(images[0].transpose(1, 2, 0) - expected).max() <= 1
        assert np.abs(images[1].transpose(1, 2, 0) - np.rot90(expected)).max() <= 1


def test_downscaling_is_antialiased(tmp_path: Path, source: Callable[..., None]) -> None:
    board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    source(Record("board", "a", lambda: Image.fromarray(board)))
    pixels = prepare_table(DataConfig(image_size=16), tmp_path).images
    assert np.abs(pixels.astype(int) - 127).max() < 20


def test_opening_maps_the_pixels_and_reads_none(tmp_path: Path) -> None:
    path = prepare_table(DataConfig(image_size=64), tmp_path).path
    allocated = pa.total_allocated_bytes()
    table = Table.open(path)
    assert pa.total_allocated_bytes() - allocated < table.images.nbytes / 100
    assert not table.images.flags.owndata
    assert not table.images.flags.writeable
    address = table.images.ctypes.data
    mapped = [
        tuple(int(edge, 16) for edge in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(path))
    ]
    assert any(low <= address and address + table.images.nbytes <= high for low, high in mapped)
    assert table.images.sum() > 0  # the mapping outlives the file object


def test_written_once_and_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare_table(SMALL, tmp_path)
    stat = first.path.stat()
    monkeypatch.setattr(table_module, "_write", lambda *args: pytest.fail("written again"))
    second = prepare_table(SMALL.model_copy(update={"seed": 5, "train_fraction": 0.1}), tmp_path)
    assert second.path == first.path
    after = second.path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (stat.st_mtime_ns, stat.st_ino)


def test_other_content_or_settings_are_another_table(
    tmp_path: Path, source: Callable[..., None]
) -> None:
    base = prepare_table(SMALL, tmp_path).path
    assert prepare_table(DataConfig(image_size=9), tmp_path).path != base
    assert prepare_table(DataConfig(image_size=8, max_images=1797), tmp_path).path == base
    source(Record("a", "a", lambda: Image.new("L", (8, 8))), fingerprint="1")
    one = prepare_table(SMALL, tmp_path).path
    source(Record("a", "a", lambda: Image.new("L", (8, 8))), fingerprint="2")
    assert len({base, one, prepare_table(SMALL, tmp_path).path}) == 3


def test_a_subset_is_stratified_and_seeded(tmp_path: Path) -> None:
    table = prepare_table(DataConfig(image_size=8, max_images=100), tmp_path)
    assert len(table.labels) == 100
    assert np.bincount(table.labels).min() >= 9
    other = prepare_table(DataConfig(image_size=8, max_images=100, seed=1), tmp_path)
    assert other.names != table.names
    with pytest.raises(UserError, match=r"data\.max_images: 9 images"):
        prepare_table(DataConfig(image_size=8, max_images=9), tmp_path)


def test_writing_leaves_one_whole_file_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match="No space left"):
        prepare_table(SMALL, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    path = prepare_table(SMALL, tmp_path).path
    assert list(tmp_path.iterdir()) == [path]


def test_two_preparations_write_the_same_bytes(tmp_path: Path) -> None:
    one, two = (prepare_table(SMALL, tmp_path / name) for name in "ab")
    assert one.path.name == two.path.name
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.sha256 == two.sha256 == hashlib.sha256(one.path.read_bytes()).hexdigest()


def test_a_race_leaves_one_table(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: prepare_table(SMALL, tmp_path), range(4)))
    assert list(tmp_path.iterdir()) == [tables[0].path]
    assert all(np.array_equal(table.images, tables[0].images) for table in tables)


@pytest.mark.parametrize("keep", [0, 10, 100_000, -1])
def test_a_torn_table_is_refused_and_written_again(tmp_path: Path, keep: int) -> None:
    path = prepare_table(SMALL, tmp_path).path
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    with pytest.raises(UserError, match="cannot read the image table"):
        Table.open(path)
    assert prepare_table(SMALL, tmp_path).path.read_bytes() == whole


def test_another_arrow_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.arrow"
    batch = pa.record_batch({"x": pa.array([1])})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(UserError, match="cannot read the image table"):
        Table.open(path)
    with pytest.raises(UserError, match="no image table"):
        Table.open(tmp_path / "absent.arrow")


def test_all_bad_images_are_named(tmp_path: Path, source: Callable[..., None]) -> None:
    def broken() -> Image.Image:
        raise OSError("truncated")

    good = Record("good", "a", lambda: Image.new("RGB", (8, 8)))
    source(good, Record("bad-1", "a", broken), Record("bad-2", "a", broken))
    with pytest.raises(UserError, match=r"2 images cannot be decoded: bad-1 .*truncated.*bad-2"):
        prepare_table(SMALL, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_groups_are_kept_and_an_empty_source_is_refused(
    tmp_path: Path, source: Callable[..., None]
) -> None:
    image = Image.new("RGB", (8, 8))
    source(
        Record("x", "a", lambda: image, group="lesion"),
        Record("y", "b", lambda: image, split="test"),
    )
    table = prepare_table(SMALL, tmp_path)
    assert table.groups == ("lesion", None)
    stored = pa.ipc.open_file(pa.memory_map(str(table.path))).read_all()
    assert stored["split"].to_pylist() == [None, "test"]
    source()
    with pytest.raises(UserError, match="no images"):
        prepare_table(SMALL, tmp_path)
