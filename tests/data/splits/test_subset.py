"""The subset that `max_images` leaves keeps the shares of classes and given splits."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from revo_ray.data.image_records import ArrayPicture, Record
from revo_ray.data.splits.split import split
from revo_ray.data.splits.subset import limit_records, subset
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.properties import examples

NAMES = ("train", "validation", "test")


def test_the_subset_keeps_the_shares() -> None:
    labels = np.repeat([0, 1, 2], [700, 290, 10])
    chosen = subset(labels, 100, seed=3)
    assert np.bincount(labels[chosen]).tolist() == [70, 29, 1]
    assert np.array_equal(chosen, subset(labels, 100, seed=3))
    assert not np.array_equal(chosen, subset(labels, 100, seed=4))
    assert np.array_equal(subset(labels, 5000, seed=3), np.arange(1000))


@pytest.mark.parametrize(("seed", "digest"), [(0, "0c3f3fff2b68ec24"), (7, "3983fdfe0dfcea39")])
def test_the_subset_of_a_seed_stays_the_same(seed: int, digest: str) -> None:
    chosen = subset(load_digits().target, 100, seed).astype("<i8")
    assert hashlib.sha256(chosen.tobytes()).hexdigest().startswith(digest)


@examples(60)
@given(
    counts=st.lists(st.integers(9, 60), min_size=1, max_size=5),
    mixed=st.booleans(),
    marked=st.booleans(),
    part=st.floats(0.01, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_subset_holds_whole_groups_or_says_how_many_images_do(
    counts: list[int], mixed: bool, marked: bool, part: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    if mixed:
        rng.shuffle(labels)
    groups = [(labels[i] if not mixed else 0, i // 3) for i in range(len(labels))]
    marks = [NAMES[group % 3] for _, group in groups] if marked else None
    count = max(1, int(part * len(labels)))
    try:
        chosen = subset(labels, count, seed, groups, marks)
    except UserError as error:
        found = re.fullmatch(r"data\.max_images: .*; use at least (\d+)", str(error))
        fewest = int(found[1]) if found else 0
        assert count < fewest <= len(labels)
        assert len(subset(labels, fewest, seed, groups, marks)) <= fewest
        return
    assert count - 3 < len(chosen) <= count
    inside = {groups[i] for i in chosen}
    assert len(chosen) == sum(group in inside for group in groups)
    assert set(labels[chosen]) == set(labels)
    if marks:
        assert {(labels[i], marks[i]) for i in chosen} == set(zip(labels, marks, strict=True))
    assert np.array_equal(chosen, subset(labels, count, seed, groups, marks))


def test_a_subset_of_groups_has_what_the_splits_need() -> None:
    labels = np.repeat([0, 1], [2000, 20])
    groups = (np.arange(2020) // 2).tolist()
    chosen = subset(labels, 200, 0, groups)
    assert np.bincount(labels[chosen])[1] == 6  # its share is two images, one group
    split(labels[chosen], DataConfig(), [groups[i] for i in chosen])


def test_a_subset_keeps_the_share_of_each_given_split() -> None:
    labels = np.repeat([0, 1], [900, 100])
    marks = [("train", "train", "train", "test", None)[i % 5] for i in range(1000)]
    chosen = subset(labels, 100, 0, given=marks)
    table = {
        (label, mark): sum(labels[i] == label and marks[i] == mark for i in chosen)
        for label in (0, 1)
        for mark in ("train", "test", None)
    }
    assert table[0, "test"] == 18
    assert table[1, "test"] == 2
    assert table[0, "train"] + table[0, None] == 72
    assert table[1, "train"] + table[1, None] == 8
    split(labels[chosen], DataConfig(), given=[marks[i] for i in chosen])


def test_records_of_one_group_stay_or_go_together() -> None:
    picture = ArrayPicture(np.zeros((1, 1), np.uint8))
    records = [Record(str(i), "ab"[i % 2], picture, group=str(i // 4)) for i in range(80)]
    chosen = limit_records(records, DataConfig(max_images=22))
    sizes = Counter(record.group for record in chosen)
    assert set(sizes.values()) == {4}
    assert len(chosen) == 20


def test_too_small_a_subset_is_refused() -> None:
    with pytest.raises(UserError, match=r"each of the 10 classes; use at least 10$"):
        subset(load_digits().target, 9, 0)
