"""The table: right pixels, written once, in bounded memory, mapped and not read."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from revo_ray.data.image_records import ArrayPicture, Finding, Problem, Record, Source, Topic
from revo_ray.data.table import image_table as table_module
from revo_ray.data.table import writer
from revo_ray.data.table.image_table import Table, prepare_table
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

SMALL = DataConfig(image_size=8)
SKIP = DataConfig(image_size=8, on_bad_image="skip")


@dataclass
class Spoilt:
    """A picture whose content is known and cannot be decoded."""

    error: Exception = field(default_factory=lambda: OSError("image file is truncated"))
    contents: tuple[str, ...] = ("spoilt",)
    stamp: str | None = None

    def digest(self) -> str:
        now, *later = self.contents
        self.contents = tuple(later) or (now,)
        return now

    def load(self) -> Spoilt:
        return self

    def open(self) -> Image.Image:
        raise self.error


def plain(name: str, label: str = "a", grey: int = 0, **options: Any) -> Record:
    """An image of one grey."""
    return Record(name, label, ArrayPicture(np.full((8, 8), grey, np.uint8)), **options)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts records of the test's own in the place of the configured source."""

    def install(*records: Record, classes: tuple[str, ...] = (), **more: Any) -> None:
        found = classes or tuple(sorted({record.label for record in records}))
        made = Source(found, records, **more)
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
    assert table.given is None
    assert table.skipped == ()


def test_shorter_side_is_resized_and_the_centre_cut(
    tmp_path: Path, source: Callable[..., None]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 60, 3), dtype=np.uint8)
    wide = Image.fromarray(noise)
    source(
        Record("wide", "a", ArrayPicture(noise)),
        Record("tall", "a", ArrayPicture(np.ascontiguousarray(np.rot90(noise)))),
    )
    for size in (10, 40):
        images = prepare_table(DataConfig(image_size=size), tmp_path).images
        resized = np.asarray(wide.resize((3 * size, size), Image.Resampling.BICUBIC))
        expected = resized[:, size : 2 * size].astype(int)
        assert np.abs(images[0].transpose(1, 2, 0) - expected).max() <= 1
        assert np.abs(images[1].transpose(1, 2, 0) - np.rot90(expected)).max() <= 1


def test_rows_keep_the_sources_order_however_long_each_takes(
    tmp_path: Path, source: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several record batches, with images left out in all of them."""

    class Late(ArrayPicture):
        def open(self) -> Image.Image:
            time.sleep(float(self.pixels[0, 0]) % 7 / 1000)
            return super().open()

    greys = np.random.default_rng(1).integers(0, 256, 100)
    pictures = [Late(np.full((8, 8), grey, np.uint8)) for grey in greys]
    records = [Record(f"{i:02d}", "ab"[i % 2], picture) for i, picture in enumerate(pictures)]
    bad = [Record(f"bad-{i}", "a", Spoilt()) for i in range(5)]
    mixed = [*bad[:1], *records[:40], *bad[1:4], *records[40:], *bad[4:]]
    source(*mixed)
    monkeypatch.setattr(writer, "BATCH_BYTES", 7 * 3 * 64)
    table = prepare_table(SKIP, tmp_path)
    assert pa.ipc.open_file(str(table.path)).num_record_batches == 16  # ⌈100 / 7⌉ and the last
    assert table.names == tuple(record.name for record in records)
    assert np.array_equal(table.labels, np.arange(100) % 2)
    assert np.array_equal(np.asarray(table.images)[:, 0, 4, 4], greys)
    assert [problem.name for problem in table.skipped] == [record.name for record in bad]


def test_opening_maps_the_pixels_and_reads_none(tmp_path: Path) -> None:
    path = prepare_table(DataConfig(image_size=64), tmp_path).path
    allocated = pa.total_allocated_bytes()
    table = Table.open(path)
    assert pa.total_allocated_bytes() - allocated < table.images.nbytes / 100
    mapped = [line.split() for line in Path("/proc/self/smaps").read_text().splitlines()]
    at = next(i for i, words in enumerate(mapped) if words[-1] == str(path))
    resident = next(int(words[1]) for words in mapped[at:] if words[0] == "Rss:") * 1024
    assert resident < table.images.nbytes / 10
    assert table.images[:].sum() > 0  # the mapping outlives the file object


def test_written_once_and_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare_table(SMALL, tmp_path)
    stat = first.path.stat()
    monkeypatch.setattr(table_module, "write_table", lambda *args: pytest.fail("written again"))
    calls: list[object] = []
    other = SMALL.model_copy(update={"seed": 5, "train_fraction": 0.1})
    second = prepare_table(other, tmp_path, lambda *done: calls.append(done))
    assert second.path == first.path
    assert not calls
    after = second.path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (stat.st_mtime_ns, stat.st_ino)


def test_progress_counts_every_image_once(tmp_path: Path, source: Callable[..., None]) -> None:
    source(plain("x"), Record("bad", "a", Spoilt()), plain("y"))
    seen: list[tuple[int, int]] = []
    prepare_table(SKIP, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_other_content_or_settings_are_another_table(
    tmp_path: Path, source: Callable[..., None]
) -> None:
    base = prepare_table(SMALL, tmp_path).path
    assert prepare_table(DataConfig(image_size=9), tmp_path).path != base
    assert prepare_table(DataConfig(image_size=8, max_images=1797), tmp_path).path == base
    variants = [
        (plain("x"), plain("y", "b")),
        (plain("x", grey=1), plain("y", "b")),
        (plain("z"), plain("y", "b")),
        (plain("x", "b"), plain("y")),
        (plain("x", group="g"), plain("y", "b")),
        (plain("x", split="test"), plain("y", "b")),
        (plain("y", "b"), plain("x")),
    ]
    paths = [base]
    for records in variants:
        source(*records)
        paths += [prepare_table(SMALL, tmp_path).path, prepare_table(SKIP, tmp_path).path]
    source(*variants[0], classes=("b", "a"))
    paths.append(prepare_table(SMALL, tmp_path).path)
    source(*variants[0], problems=(Problem("gone", "missing"),))
    paths.append(prepare_table(SKIP, tmp_path).path)
    assert len(set(paths)) == len(paths)


def test_a_subset_is_stratified_and_seeded(tmp_path: Path) -> None:
    table = prepare_table(DataConfig(image_size=8, max_images=100), tmp_path)
    assert len(table.labels) == 100
    assert np.bincount(table.labels).min() >= 9
    other = prepare_table(DataConfig(image_size=8, max_images=100, seed=1), tmp_path)
    assert other.names != table.names
    with pytest.raises(UserError, match=r"data\.max_images: 9 images"):
        prepare_table(DataConfig(image_size=8, max_images=9), tmp_path)


def test_a_subset_reads_its_own_images_only(tmp_path: Path, source: Callable[..., None]) -> None:
    source(*(plain(f"{i}", "ab"[i % 2], i, group=f"g{i // 4}") for i in range(40)))
    everything = prepare_table(SMALL, tmp_path)
    config = DataConfig(image_size=8, max_images=12)
    table = prepare_table(config, tmp_path)
    assert len(table.labels) <= 12
    assert table.groups is not None
    assert everything.groups is not None
    whole = [sum(group == g for g in everything.groups) for group in set(table.groups)]
    assert [sum(group == g for g in table.groups) for group in set(table.groups)] == whole
    chosen = set(table.names)
    source(
        *(
            plain(f"{i}", "ab"[i % 2], i, group=f"g{i // 4}")
            if f"{i}" in chosen
            else Record(f"{i}", "ab"[i % 2], Spoilt(), group=f"g{i // 4}")
            for i in range(40)
        )
    )
    assert prepare_table(config, tmp_path).path == table.path


def test_writing_leaves_one_whole_file_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match="No space left"):
        prepare_table(SMALL, tmp_path)
    assert list(tmp_path.glob("*.arrow")) == []
    monkeypatch.undo()
    path = prepare_table(SMALL, tmp_path).path
    assert list(tmp_path.glob("*.arrow")) == [path]


def test_what_killed_processes_left_is_swept_away(tmp_path: Path) -> None:
    old, young = tmp_path / ".old-1.tmp", tmp_path / ".young-2.tmp"
    old.write_bytes(b"half a table")
    young.write_bytes(b"somebody writes this now")
    os.utime(old, (time.time() - 7200,) * 2)
    path = prepare_table(SMALL, tmp_path).path
    assert not old.exists()
    assert young.exists()
    assert path.exists()


def test_two_preparations_write_the_same_bytes(tmp_path: Path) -> None:
    one, two = (prepare_table(SMALL, tmp_path / name) for name in "ab")
    assert one.path.name == two.path.name
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.sha256 == two.sha256 == hashlib.sha256(one.path.read_bytes()).hexdigest()


def test_preparations_at_once_write_one_table_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []

    def count(*args: Any) -> None:
        written.append(args)
        writer.write_table(*args)

    monkeypatch.setattr(table_module, "write_table", count)
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: prepare_table(SMALL, tmp_path), range(4)))
    assert len(written) == 1
    assert list(tmp_path.glob("*.arrow")) == [tables[0].path]
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
    for batches in (0, 1):
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as arrow:
            for _ in range(batches):
                arrow.write_batch(batch)
        with pytest.raises(UserError, match="cannot read the image table"):
            Table.open(path)
    with pytest.raises(UserError, match="no image table"):
        Table.open(tmp_path / "absent.arrow")


def test_all_bad_images_are_named_at_once(tmp_path: Path, source: Callable[..., None]) -> None:
    source(
        plain("good"),
        Record("bad 1.png", "a", Spoilt()),
        Record("bad-2", "a", Spoilt(ValueError("no pixels"))),
        problems=(Problem("gone.png", "missing"),),
    )
    with pytest.raises(UserError) as refused:
        prepare_table(SMALL, tmp_path)
    assert refused.value.key == "data.root"
    for part in (
        "3 images cannot be used",
        "data.on_bad_image: skip",
        "'gone.png' (missing)",
        "'bad 1.png' (truncated)",
        "'bad-2' (",
        "no pixels",
    ):
        assert part in str(refused.value)
    assert list(tmp_path.glob("*.arrow")) == []
    table = prepare_table(SKIP, tmp_path)
    assert table.names == ("good",)
    assert table.skipped[:2] == (Problem("gone.png", "missing"), Problem("bad 1.png", "truncated"))
    assert [problem.name for problem in table.skipped[2:]] == ["bad-2"]


def test_skipping_may_not_empty_a_class(tmp_path: Path, source: Callable[..., None]) -> None:
    source(plain("x"), Record("y", "rare", Spoilt()))
    with pytest.raises(UserError, match=r"class 'rare' has no image after 1 image .*'y' \(trunc"):
        prepare_table(SKIP, tmp_path)
    source(plain("x"), classes=("a", "b"), problems=(Problem("z", "missing"),))
    with pytest.raises(UserError, match=r"class 'b' has no image after 1 image .*'z' \(missing"):
        prepare_table(SKIP, tmp_path)
    source(plain("x"), classes=("a", "b", "c"))
    with pytest.raises(UserError, match="classes 'b', 'c' have no image; remove"):
        prepare_table(SMALL, tmp_path)
    assert list(tmp_path.glob("*.arrow")) == []


def test_groups_and_given_splits_are_kept(tmp_path: Path, source: Callable[..., None]) -> None:
    source(plain("ä b.png", group="lesion"), plain("y", "b", split="test"))
    table = prepare_table(SMALL, tmp_path)
    assert table.names == ("ä b.png", "y")
    assert table.groups == ("lesion", None)
    assert table.given == (None, "test")


def test_a_source_without_images_is_refused_and_its_warnings_are_passed_on(
    tmp_path: Path, source: Callable[..., None]
) -> None:
    source(plain("x"), warnings=(Finding(Topic.GROUPS, "no group is known"),))
    for _ in range(2):  # written, and found there
        assert prepare_table(SMALL, tmp_path).warnings == (
            Finding(Topic.GROUPS, "no group is known"),
        )
    source()
    with pytest.raises(UserError, match=r"data\.source: .*no images"):
        prepare_table(SMALL, tmp_path)


PREPARE_AND_READ = """
import os, resource, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # each thread has a stack
import imagehash, scipy.sparse.csgraph  # the code of libraries is no memory of a table
import numpy as np
from pathlib import Path
from revo_ray.settings.schema import DataConfig
from revo_ray.data.table import image_table as module
from revo_ray.data.image_records import ArrayPicture, Record, Source

pixels = np.random.default_rng(0).integers(0, 256, (9, 9), dtype=np.uint8)
records = [Record(f"{i}", "ab"[i % 2], ArrayPicture(pixels)) for i in range(300)]
module.read_source = lambda config: Source(("a", "b"), tuple(records))
used = int(next(l for l in open("/proc/self/status") if l.startswith("VmData")).split()[1]) * 1024
limit = used + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
table = module.prepare_table(DataConfig(image_size=512), Path(sys.argv[1]))
total = 0
for rows in np.array_split(np.random.default_rng(1).permutation(300), 30):
    total += int(table.images[rows].sum())
print(table.images.nbytes, total)
"""


@pytest.mark.nightly
@pytest.mark.slow
def test_a_table_larger_than_memory_is_written_and_streamed(tmp_path: Path) -> None:
    allowance = 100 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", PREPARE_AND_READ, str(tmp_path), str(allowance)],
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve a gibibyte
        },
    )
    assert done.returncode == 0, done.stderr
    size, total = map(int, done.stdout.split())
    assert size > 2 * allowance
    (path,) = tmp_path.glob("*.arrow")
    images = Table.open(path).images
    assert total == 300 * int(images[0].sum())


@pytest.mark.parametrize(("low", "high", "kind"), [(0, 4095, np.uint16), (-1000, 3000, np.int32)])
def test_one_range_of_intensities_is_taken_and_recorded(
    low: int, high: int, kind: type, tmp_path: Path
) -> None:
    """Also with an image that spans a tenth of it: it stays a tenth."""
    ramp = np.linspace(low, high, 64)[None].repeat(64, axis=0)
    faint = low + (ramp - low) / 10
    for name, grey in (("a", ramp), ("b", faint)):
        for number in range(2):
            (tmp_path / "in" / name).mkdir(parents=True, exist_ok=True)
            path = tmp_path / "in" / name / f"{number}.tif"
            Image.fromarray(grey.astype(kind)).save(path)
    config = DataConfig(source="folder", root=str(tmp_path / "in"), image_size=64)
    table = prepare_table(config, tmp_path)
    assert table.intensity == pytest.approx((low, high), abs=8)
    levels = [int(np.ptp(image)) for image in table.images[:]]
    assert levels == pytest.approx([255, 255, 25, 25], abs=2)
    narrow = prepare_table(config.model_copy(update={"intensity": (0.0, 100.0)}), tmp_path)
    assert (narrow.path != table.path, narrow.intensity) == (True, (0, 100))
