"""The splits: disjoint, stratified, stable, and refused where a class would be left out."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from revo_ray.data.splits.split import Splits, split
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.properties import examples

NAMES = ("train", "validation", "test")
SRSMAS = np.repeat(np.arange(14), [90, 70, 50, 40, 30, 30, 20, 20, 15, 14, 10, 10, 7, 3])


def config(train: float = 0.05, held_out: float = 0.2, seed: int = 0) -> DataConfig:
    return DataConfig(
        train_fraction=train, validation_fraction=held_out, test_fraction=held_out, seed=seed
    )


def parts(splits: Splits) -> list[NDArray[np.int64]]:
    return [getattr(splits, name) for name in NAMES]


def per_class(labels: NDArray[np.int64], part: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(labels[part], minlength=labels.max() + 1)


def test_digits_at_the_default_fractions() -> None:
    labels = load_digits().target
    splits = split(labels, config())
    assert [len(part) for part in parts(splits)] == [89, 360, 360]
    for part in parts(splits):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        reference, _ = train_test_split(labels, train_size=len(part), stratify=labels)
        assert np.abs(np.bincount(labels[part]) - np.bincount(reference)).max() <= 1


@pytest.mark.parametrize(
    ("labels", "seed", "first", "digest"),
    [
        (load_digits().target, 0, [2, 12, 20, 28, 44], "9237d87ffe3ddfd3"),
        (SRSMAS, 7, [0, 2, 9, 14, 34], "60aa6ea348478b48"),
    ],
)
def test_the_images_of_a_seed_stay_the_same(
    labels: NDArray[np.int64], seed: int, first: list[int], digest: str
) -> None:
    splits = split(labels, config(0.3, seed=seed))
    assert splits.test[:5].tolist() == first
    content = b"".join(part.astype("<i8").tobytes() for part in parts(splits))
    assert hashlib.sha256(content).hexdigest().startswith(digest)


def test_fractions_that_add_up_to_one_use_every_image() -> None:
    labels = load_digits().target
    used = np.concatenate(parts(split(labels, config(train=0.6))))
    assert sorted(used.tolist()) == list(range(len(labels)))


@examples(40)
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
    for part, share in zip(parts(splits), (fraction, 0.2, 0.2), strict=True):
        assert abs(len(part) - share * len(labels)) < 1
        expected = np.array(counts) * len(part) / len(labels)
        assert (np.abs(per_class(labels, part) - expected) <= 1).all()
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
    assert [len(part) for part in parts(split(SRSMAS, config()))] == [20, 82, 82]
    for part in parts(split(SRSMAS, config())):
        assert set(SRSMAS[part]) == set(range(14))


@examples(20)
@given(seed=st.integers(0, 2**32 - 1))
def test_groups_of_one_image_are_no_groups(seed: int) -> None:
    alone = [f"image {i}" if i % 3 else None for i in range(len(SRSMAS))]
    for part, other in zip(
        parts(split(SRSMAS, config(0.1, seed=seed))),
        parts(split(SRSMAS, config(0.1, seed=seed), alone)),
        strict=True,
    ):
        assert np.array_equal(part, other)


def test_a_class_of_two_images_is_refused_by_name() -> None:
    labels = np.array([0] * 50 + [1] * 2)
    with pytest.raises(UserError, match="class 'rare' has 2 images"):
        split(labels, config(), classes=["common", "rare"])


def test_a_class_without_images_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="class 'empty' has 0 images"):
        split(np.repeat([0, 1], 50), config(), classes=["a", "b", "empty"])


def test_too_small_a_fraction_names_a_class_and_one_that_works() -> None:
    labels = np.repeat(np.arange(10), 30)
    with pytest.raises(UserError, match=r"data\.train_fraction: .*'nine'.*0\.0335$") as error:
        split(labels[:-1], config(train=0.01), classes=[*"012345678", "nine"])
    assert error.value.key == "data.train_fraction"
    assert len(split(labels[:-1], config(train=0.0335)).train) >= 10
