"""Splits that a data set's authors made are kept whole, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from revo_ray.data.splits.split import Splits, split
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.properties import examples

NAMES = ("train", "validation", "test")


def config(train: float = 0.05, splits: str = "given", seed: int = 0) -> DataConfig:
    return DataConfig.model_validate({"train_fraction": train, "splits": splits, "seed": seed})


def same(one: Splits, other: Splits) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in NAMES)


def positions(marks: list[str | None], *names: str | None) -> set[int]:
    return {i for i, mark in enumerate(marks) if mark in names}


@examples(40)
@given(
    counts=st.lists(st.integers(12, 40), min_size=2, max_size=5),
    marks=st.lists(st.sampled_from([*NAMES, None]), min_size=1, max_size=4, unique=True),
    train=st.floats(0.2, 0.6),
    seed=st.integers(0, 2**32 - 1),
)
def test_given_splits_are_kept_whole_and_the_others_drawn_from_the_rest(
    counts: list[int], marks: list[str | None], train: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    # Each class has at least three images of every mark.
    given_splits = [marks[i % len(marks)] for count in counts for i in range(count)]
    rest = positions(given_splits, "train", None)
    if len(rest) < 3 * len(counts):
        return
    chosen = config(train, seed=seed)
    splits = split(labels, chosen, given=given_splits)
    n = len(labels)
    for name in ("test", "validation"):
        part = set(getattr(splits, name).tolist())
        if name in marks:
            assert part == positions(given_splits, name)
        else:
            assert part <= rest
            assert abs(len(part) - 0.2 * n) < 1
        rest -= part
    assert set(splits.train.tolist()) <= rest
    assert len(splits.train) == min(int(train * n + 1e-9), len(rest))
    for name in NAMES:
        assert set(labels[getattr(splits, name)]) == set(labels)
    more = split(labels, config(0.6, seed=seed), given=given_splits)
    assert np.array_equal(more.validation, splits.validation)
    assert np.array_equal(more.test, splits.test)


def test_a_validation_split_has_the_shares_of_the_images_it_is_drawn_from() -> None:
    labels = np.array([0] * 800 + [1] * 200 + [0] * 50 + [1] * 450)
    splits = split(labels, config(0.1), given=["train"] * 1000 + ["test"] * 500)
    assert np.bincount(labels[splits.validation]).tolist() == [240, 60]
    assert np.bincount(labels[splits.train]).tolist() == [120, 30]


@pytest.mark.parametrize("marks", [[None], ["train"], ["train", None]])
def test_without_a_given_test_or_validation_split_all_are_drawn(marks: list[str | None]) -> None:
    labels = load_digits().target
    given_splits = [marks[i % len(marks)] for i in range(len(labels))]
    assert same(split(labels, config(), given=given_splits), split(labels, config()))


def test_drawn_splits_ignore_the_given_ones() -> None:
    labels = load_digits().target
    given_splits = [NAMES[i % 3] for i in range(len(labels))]
    drawn = split(labels, config(splits="drawn"), given=given_splits)
    assert same(drawn, split(labels, config()))
    assert not same(drawn, split(labels, config(), given=given_splits))


def test_no_group_leaks_out_of_a_given_split() -> None:
    rng = np.random.default_rng(0)
    group_of = rng.integers(0, 200, 800)
    labels = rng.integers(0, 3, 800)
    marks: list[str | None] = ["test" if g < 40 else "train" for g in group_of]
    marks = [mark if i % 4 else None for i, mark in enumerate(marks)]
    splits = split(labels, config(0.6), [f"patient {g}" for g in group_of], given=marks)
    seen = [set(group_of[getattr(splits, name)].tolist()) for name in NAMES]
    assert sum(map(len, seen)) == len(set.union(*seen))
    assert set(splits.test.tolist()) == positions(marks, "test")
    unused = set(range(800)).difference(*(getattr(splits, name).tolist() for name in NAMES))
    # An image that is not given and belongs to a test patient is in no split.
    assert {i for i in range(800) if marks[i] is None and group_of[i] in seen[2]} <= unused


@pytest.mark.parametrize("other", ["test", "validation"])
def test_a_group_in_two_given_splits_is_refused_by_name(other: str) -> None:
    labels = np.tile([0, 1], 50)
    marks = [*["test"] * 20, *["validation"] * 20, *["train"] * 60]
    groups = [f"p{i}" for i in range(100)]
    groups[marks.index(other)] = groups[99]
    with pytest.raises(
        UserError, match=r"data\.splits: group 'p99' .*`data.splits: drawn`"
    ) as error:
        split(labels, config(), groups, given=marks)
    assert error.value.key == "data.splits"
    assert other in str(error.value)
    split(labels, config(splits="drawn"), groups, given=marks)


def test_a_class_that_a_given_split_lacks_is_refused_by_name() -> None:
    labels = np.repeat([0, 1], 50)
    marks = ["test" if i < 10 else "train" for i in range(100)]
    with pytest.raises(
        UserError, match=r"'rare' has no image in the given test split; `data.splits: drawn`"
    ):
        split(labels, config(), classes=["common", "rare"], given=marks)
    split(labels, config(splits="drawn"), classes=["common", "rare"], given=marks)


def test_a_class_that_given_splits_leave_too_little_of_is_refused_by_name() -> None:
    labels = np.repeat([0, 1], 50)
    marks = ["test" if i % 50 else "train" for i in range(100)]
    few = "'0', '1' have 1 image outside the given test split, too few for the train and validation"
    with pytest.raises(UserError, match=few + ".*`data.splits: drawn`"):
        split(labels, config(), given=marks)
    everything = ["validation" if i % 2 else "test" for i in range(100)]
    with pytest.raises(UserError, match="'0', '1' have 0 images outside the given test and valid"):
        split(labels, config(), given=everything)


def test_a_split_of_another_name_is_no_split() -> None:
    with pytest.raises(ValueError, match="'val'"):
        split([0, 1] * 10, config(), given=["val"] * 20)
