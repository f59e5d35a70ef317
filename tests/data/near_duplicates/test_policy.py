"""Near-duplicates: said, kept together or dropped before splits are drawn. Two labels are said."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from revo_ray.data.image_records import ArrayPicture, Record, Topic
from revo_ray.data.inspect import inspect
from revo_ray.data.near_duplicates.image_hashes import SIDE, ImageHashes
from revo_ray.data.near_duplicates.pairs import LISTED, NearDuplicates
from revo_ray.data.near_duplicates.policy import LARGEST, SPLITS, across_splits, treat
from revo_ray.data.splits.split import split_records
from revo_ray.data.table.image_table import prepare_table, split_table
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.data.layouts import Files, picture, unpacked
from tests.data.near_duplicates.hashed import find_near_duplicates

THIRDS = {"train_fraction": 0.3, "validation_fraction": 0.3, "test_fraction": 0.3}
BLANK = ArrayPicture(np.zeros((2, 2), np.uint8))


def config(**keys: object) -> DataConfig:
    return DataConfig(**THIRDS | keys)  # type: ignore[arg-type]


def pictures_folder(root: Path, more: Files, **keys: object) -> DataConfig:
    """Twenty images of each of two classes, no two alike, and more."""
    files = {
        f"{label}/{i:02d}.png": picture(tint, i, (60, 50), "PNG")
        for tint, label in enumerate(("cat", "dog"))
        for i in range(20)
    }
    place = unpacked(files | more, root / "set")
    return config(source="folder", root=str(place), image_size=32, **keys)


class Drawn:
    """Random images: copies of one another, chains of similar ones, and strangers.

    Each picture has a number, and similar pictures follow one another in a chain.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        rng = np.random.default_rng(seed)
        count = int(rng.integers(60, 140))
        self.chain = rng.integers(0, count, count)  # of each picture
        self.place = np.zeros(count, int)
        seen: dict[int, int] = {}
        for i, chain in enumerate(self.chain.tolist()):
            self.place[i] = seen[chain] = seen.get(chain, -1) + 1
        base = rng.integers(0, 2, (count, SIDE**2), dtype=np.uint8)
        shown = rng.integers(0, count, count)  # picture of each image
        self.hashes, self.records = [], []
        for i, number in enumerate(shown.tolist()):
            bits = base[self.chain[number]].copy()
            at = 15 * int(self.place[number])  # 15 bits from the next in the chain, 30 from others
            bits[at : at + 15] ^= 1
            bits[at + 15 : at + 15] ^= 1
            for k in range(int(self.place[number])):
                bits[15 * k : 15 * k + 15] ^= 1
            exact = hashlib.sha256(str((seed, number)).encode()).digest()
            small = rng.integers(0, 256, SIDE**2, dtype=np.uint8).tobytes()
            self.hashes.append(ImageHashes(exact, np.packbits(bits).tobytes(), small))
            group = f"g{rng.integers(0, 20)}" if rng.random() < 0.3 else None
            self.records.append(Record(f"{i:04d}", "abc"[i % 3], BLANK, group))
        self.shown = shown
        self.near_duplicates = find_near_duplicates(
            self.hashes, folder, [r.name for r in self.records]
        )

    def alike(self) -> NDArray[np.bool_]:
        """(N, N) whether two images are near-duplicates, by all of their bits."""
        bits = np.array(
            [np.unpackbits(np.frombuffer(h.perceptual, np.uint8)) for h in self.hashes], int
        )
        apart = (bits[:, None] != bits[None]).sum(axis=2)
        return (apart <= 20) | (self.shown[:, None] == self.shown[None])


@pytest.fixture(params=range(12))
def drawn(request: pytest.FixtureRequest, tmp_path: Path) -> Drawn:
    return Drawn(request.param, tmp_path)


def closure(related: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """By squaring until nothing is added."""
    reached = related | np.eye(len(related), dtype=bool)
    while True:
        more = (reached.astype(int) @ reached.astype(int)) > 0
        if (more == reached).all():
            return reached
        reached = more


def in_one_group(records: list[Record]) -> NDArray[np.bool_]:
    groups = np.array([r.group or f"alone {i}" for i, r in enumerate(records)])
    return groups[:, None] == groups[None]


def test_groups_are_the_closure_of_near_duplicates_and_own_groups(drawn: Drawn) -> None:
    own = in_one_group(drawn.records)
    expected = closure(drawn.alike() | own)
    treated = treat(drawn.records, drawn.near_duplicates, config(near_duplicates="group"))
    large = expected.sum(axis=1) * LARGEST > len(own)
    if large.any():
        copies = drawn.shown[:, None] == drawn.shown[None]
        expected = closure(np.where(large[:, None], copies, drawn.alike()) | own)
    assert (in_one_group(list(treated.records)) == expected).all()
    assert [r.name for r in treated.records] == [r.name for r in drawn.records]
    assert any("one chain of twins" in str(each) for each in treated.findings) <= large.any()


def test_no_near_duplicates_are_left_where_they_were_dropped(drawn: Drawn) -> None:
    treated = treat(drawn.records, drawn.near_duplicates, config(near_duplicates="drop"))
    alike = drawn.alike()
    reached = closure(alike)
    large = reached.sum(axis=1) * LARGEST > len(alike)
    copies = drawn.shown[:, None] == drawn.shown[None]
    clusters = np.where(large[:, None], copies, reached)
    labels = np.array([r.label for r in drawn.records])
    torn = (copies & (labels[:, None] != labels[None])).any(axis=1)
    first = [
        i == next((j for j in np.flatnonzero(row).tolist() if not torn[j]), None)
        for i, row in enumerate(clusters)
    ]
    assert treated.kept.tolist() == np.flatnonzero(first).tolist()
    said = [found.topic for found in treated.findings]
    assert (Topic.TWO_LABELS in said) == torn.any()


def test_all_images_with_a_near_duplicate_in_another_split_are_found(drawn: Drawn) -> None:
    part = np.random.default_rng(0).integers(0, 4, len(drawn.records))
    parts = {name: np.flatnonzero(part == i) for i, name in enumerate(SPLITS)}
    alike, copies = drawn.alike(), drawn.shown[:, None] == drawn.shown[None]
    for found in across_splits(drawn.near_duplicates, parts):
        first, second = (parts[SPLITS[i]] for i in found.splits)
        same = {int(j) for j in second if copies[first, j].any()}
        near = {int(j) for j in second if alike[first, j].any()} - same
        assert set(found.same[:, 1].tolist()) == same
        assert set(found.similar[:, 1].tolist()) == near
        assert all(copies[i, j] for i, j in found.same)
        assert all(alike[i, j] for i, j in found.similar)
        partners = np.concatenate([found.same, found.similar])[:, 0]
        assert set(partners.tolist()) <= set(first.tolist())


def test_the_order_of_rows_changes_nothing(drawn: Drawn, tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(len(drawn.records)).tolist()
    records = [drawn.records[i] for i in order]
    (tmp_path / "other").mkdir()
    near_duplicates = find_near_duplicates(
        [drawn.hashes[i] for i in order], tmp_path / "other", [r.name for r in records]
    )
    for way in ("group", "drop"):
        first = treat(drawn.records, drawn.near_duplicates, config(near_duplicates=way))
        second = treat(records, near_duplicates, config(near_duplicates=way))
        assert {(r.name, r.group) for r in first.records} == {
            (r.name, r.group) for r in second.records
        }


def test_given_splits_stay_and_no_near_duplicate_is_drawn_into_training(drawn: Drawn) -> None:
    rng = np.random.default_rng(2)
    given = rng.choice(np.array(["train", "test", None]), len(drawn.records))
    records = [
        replace(record, split=split, group=None)
        for record, split in zip(drawn.records, given.tolist(), strict=True)
    ]
    treated = treat(records, drawn.near_duplicates, config(near_duplicates="group"))
    splits = split_records(treated.records, ("a", "b", "c"), config())
    assert set(splits.test.tolist()) == set(np.flatnonzero(given == "test").tolist())
    alike = drawn.alike()
    loose = np.array([i for i in splits.train.tolist() if given[i] is None], int)
    large = [each for each in treated.findings if "one chain" in str(each)]
    if not large:
        assert not alike[np.ix_(loose, splits.test)].any()
        assert not alike[np.ix_(splits.validation, splits.train)].any()
    dropped = treat(records, drawn.near_duplicates, config(near_duplicates="drop"))
    kept = set(dropped.kept.tolist())
    reached = closure(alike)
    for row in reached:
        here = [i for i in np.flatnonzero(row).tolist() if i in kept]
        if len(here) == 1 and (given[row] == "test").any():
            labels = {drawn.records[i].label for i in np.flatnonzero(row).tolist()}
            assert given[here[0]] == "test" or len(labels) > 1


def copies(count: int) -> Files:
    return {f"cat/copy{i:02d}.png": picture(0, i, (60, 50), "PNG") for i in range(count)}


def test_near_duplicates_are_grouped_in_a_search(tmp_path: Path) -> None:
    warned = pictures_folder(tmp_path, copies(12))
    table = prepare_table(warned, tmp_path / "tables", must_split=True)
    (found,) = table.warnings
    assert found.topic == Topic.NEAR_DUPLICATES
    assert found.key == "data.near_duplicates"
    for way in ("group", "drop"):
        assert way in str(found)
    grouped = warned.model_copy(update={"near_duplicates": "group"})
    other = prepare_table(grouped, tmp_path / "tables", must_split=True)
    assert other.warnings == ()
    assert other.path != table.path
    assert other.names == table.names
    splits = split_table(other, grouped)
    side = {other.names[i]: name for name in SPLITS for i in getattr(splits, name).tolist()}
    for i in range(12):
        assert side.get(f"cat/{i:02d}.png") == side.get(f"cat/copy{i:02d}.png")
    assert inspect(grouped, tmp_path / "tables").table == other.path


def test_near_duplicates_are_dropped_and_counted(tmp_path: Path) -> None:
    dropping = pictures_folder(tmp_path, copies(12), near_duplicates="drop")
    table = prepare_table(dropping, tmp_path / "tables", must_split=True)
    assert not any("copy" in name for name in table.names)
    assert len(table.names) == 40
    (found,) = table.warnings
    assert str(found).startswith("12 images left out")
    assert prepare_table(dropping, tmp_path / "tables", must_split=True).warnings == table.warnings
    inspection = inspect(dropping, tmp_path / "tables")
    assert inspection.table == table.path
    assert inspection.counts.tolist() == [20, 20]
    assert inspection.warnings == table.warnings


def test_one_picture_with_two_labels_is_the_first_finding(tmp_path: Path) -> None:
    torn = {f"dog/also{i}.png": picture(0, i, (60, 50), "PNG") for i in range(3)}
    config = pictures_folder(tmp_path, torn)
    for warnings in (
        inspect(config, tmp_path / "tables").warnings,
        prepare_table(config, tmp_path / "tables", must_split=True).warnings,
    ):
        assert warnings[0].topic == Topic.TWO_LABELS
        assert str(warnings[0]).startswith(
            "3 pictures stand in two classes or more, as 6 images, such as 'cat/00.png' ('cat') "
            "and 'dog/also0.png' ('dog')"
        )
        assert "data.near_duplicates: drop" in str(warnings[0])
    dropping = config.model_copy(update={"near_duplicates": "drop"})
    table = prepare_table(dropping, tmp_path / "tables")
    assert np.bincount(table.labels).tolist() == [17, 20]


def test_a_class_that_dropping_empties_is_an_error(tmp_path: Path) -> None:
    torn = {f"emu/{i}.png": picture(0, i, (60, 50), "PNG") for i in range(3)}
    config = pictures_folder(tmp_path, torn, near_duplicates="drop")
    with pytest.raises(UserError, match="class 'emu' has no image"):
        prepare_table(config, tmp_path / "tables")
    with pytest.raises(UserError, match="class 'emu' has no image"):
        inspect(config, tmp_path / "tables").check()


def test_all_pairs_are_listed_and_names_are_to_the_letter(tmp_path: Path) -> None:
    names = ['cat/a, "b" ü\n.png', "cat/copy 2.png"]
    config = pictures_folder(tmp_path, dict.fromkeys(names, picture(0, 3, (60, 50), "PNG")))
    listed = tmp_path / "twins.csv"
    (tmp_path / "link").symlink_to(listed)
    found = inspect(config, tmp_path / "tables", list_pairs=tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    with listed.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == LISTED
    assert [row[:3] for row in rows] == [
        ["cat/03.png", names[0], "same"],
        ["cat/03.png", names[1], "same"],
    ]
    assert {row[3] for row in rows} <= set(found.splits)
    assert all(row[5:] == ["cat", "cat"] for row in rows)


def test_pairs_that_were_found_are_not_sought_again(drawn: Drawn, tmp_path: Path) -> None:
    before = [block.tolist() for block in drawn.near_duplicates.similar()]
    path = tmp_path / "x.pairs"
    stamp = path.stat().st_mtime_ns
    names = [record.name for record in drawn.records]
    again = find_near_duplicates(drawn.hashes, tmp_path, names)
    assert path.stat().st_mtime_ns == stamp
    assert [block.tolist() for block in again.similar()] == before
    assert isinstance(again, NearDuplicates)
    find_near_duplicates(drawn.hashes[:-1], tmp_path, names[:-1])
    assert path.stat().st_mtime_ns != stamp
