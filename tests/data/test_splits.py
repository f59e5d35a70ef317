"""The splits: disjoint, stratified, stable, and refused where a class would be left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from revo_ray.config import DataConfig
from revo_ray.data.splits import Splits, split, stratified_subset
from revo_ray.errors import UserError

NAMES = ("train", "validation", "test")


def config(train: float = 0.05, held_out: float = 0.2, seed: int = 0) -> DataConfig:
    return DataConfig(
        train_fraction=train, validation_fraction=held_out, test_fraction=held_out, seed=seed
    )


def parts(splits: Splits) -> list[np.ndarray]:
    return [getattr(splits, name) for name in NAMES]


def test_digits_at_the_default_fractions() -> None:
    labels = load_digits().target
    splits = split(labels, config())
    assert [len(part) for part in parts(splits)] == [89, 360, 360]
    for part in parts(splits):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        reference, _ = train_test_split(labels, train_size=len(part), stratify=labels)
        assert np.abs(np.bincount(labels[part]) - np.bincount(reference)).max() <= 1


def test_fractions_that_add_up_to_one_use_every_image() -> None:
    labels = load_digits().target
    used = np.concatenate(parts(split(labels, config(train=0.6))))
    assert sorted(used.tolist()) == list(range(len(labels)))


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(20, 60), min_size=2, max_size=6),
    fraction=st.floats(0.2, 0.55),
    seed=st.integers(0, 2**32 - 1),
)
def test_disjoint_stratified_and_stable(counts: list[int], fraction: float, seed: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    splits = split(labels, config(train=fraction, seed=seed))
    together = np.concatenate(parts(splits))
    assert len(set(together.tolist())) == len(together)
    for part in parts(splits):
        expected = np.array(counts) * len(part) / len(labels)
        assert (np.abs(np.bincount(labels[part], minlength=len(counts)) - expected) < 2).all()
        assert (np.bincount(labels[part], minlength=len(counts)) > 0).all()
    other = split(labels, config(train=0.6, seed=seed))
    assert np.array_equal(other.test, splits.test)
    assert np.array_equal(other.validation, splits.validation)
    again = split(labels, config(train=fraction, seed=seed))
    assert np.array_equal(again.train, splits.train)


def test_the_seed_changes_the_split_and_a_larger_training_set_holds_the_smaller() -> None:
    labels = load_digits().target
    small, large = (split(labels, config(train=fraction)) for fraction in (0.05, 0.4))
    assert set(small.train) < set(large.train)
    assert not np.array_equal(split(labels, config(seed=1)).test, small.test)


def test_rare_classes_have_an_image_in_each_split() -> None:
    # 20 training images of 14 classes, as SRSMAS at 5 %.
    counts = [90, 70, 50, 40, 30, 30, 20, 20, 15, 14, 10, 10, 7, 3]
    labels = np.repeat(np.arange(14), counts)
    for part in parts(split(labels, config())):
        assert set(labels[part]) == set(range(14))


def test_too_small_a_fraction_names_a_class_and_one_that_works() -> None:
    labels = np.repeat(np.arange(10), 30)
    with pytest.raises(UserError, match=r"data\.train_fraction: .*'nine'.*0\.0335") as error:
        split(labels[:-1], config(train=0.01), classes=[*"012345678", "nine"])
    assert error.value.key == "data.train_fraction"
    assert len(split(labels[:-1], config(train=0.0335)).train) >= 10


def test_a_class_of_two_images_is_refused_by_name() -> None:
    labels = np.array([0] * 50 + [1] * 2)
    with pytest.raises(UserError, match="class 'rare' has 2 images"):
        split(labels, config(), classes=["common", "rare"])


def test_a_class_without_images_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="class 'empty' has 0 images"):
        split(np.repeat([0, 1], 50), config(), classes=["a", "b", "empty"])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_no_group_stands_in_two_splits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group_of = rng.integers(0, 250, 500)
    labels = rng.integers(0, 3, 250)[group_of]  # one class a group, as HAM10000's lesions
    groups = [None if g < 20 else f"lesion-{g}" for g in group_of]
    splits = split(labels, config(train=0.3, seed=seed), groups)
    seen = [{groups[i] for i in part} - {None} for part in parts(splits)]
    assert sum(map(len, seen)) == len(set.union(*seen))
    together = np.concatenate(parts(splits))
    assert len(set(together.tolist())) == len(together)
    for part, fraction in zip(parts(splits), (0.3, 0.2, 0.2), strict=True):
        assert len(part) == pytest.approx(fraction * 500, abs=12)
        assert set(labels[part]) == {0, 1, 2}
    other = split(labels, config(train=0.5, seed=seed), groups)
    assert np.array_equal(other.test, splits.test)
    assert np.array_equal(other.validation, splits.validation)


def test_groups_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(UserError, match="'1' has 2 groups of images"):
        split([0] * 30 + [1] * 30, config(), groups=[*range(30), *([30, 31] * 15)])


def test_a_large_group_still_leaves_every_class_in_each_split() -> None:
    labels = [0] * 30 + [1] * 30
    splits = split(labels, config(train=0.4), groups=[*range(30), *["big"] * 28, "b", "c"])
    for part in parts(splits):
        assert {labels[i] for i in part} == {0, 1}


def test_subset_keeps_the_shares() -> None:
    labels = np.repeat([0, 1, 2], [700, 290, 10])
    subset = stratified_subset(labels, 100, seed=3)
    assert np.bincount(labels[subset]).tolist() == [70, 29, 1]
    assert np.array_equal(subset, stratified_subset(labels, 100, seed=3))
    assert not np.array_equal(subset, stratified_subset(labels, 100, seed=4))
