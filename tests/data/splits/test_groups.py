"""Groups: whole, near their shares, and refused with a way out that works."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from revo_ray.data.splits.split import Splits, split
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.properties import examples

NAMES = ("train", "validation", "test")


def config(train: float = 0.05, held_out: float = 0.2, seed: int = 0) -> DataConfig:
    return DataConfig(
        train_fraction=train, validation_fraction=held_out, test_fraction=held_out, seed=seed
    )


def parts(splits: Splits) -> list[NDArray[np.int64]]:
    return [getattr(splits, name) for name in NAMES]


def per_class(labels: NDArray[np.int64], part: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(labels[part], minlength=labels.max() + 1)


@st.composite
def grouped(
    draw: st.DrawFn, fewest: int = 20, most: int = 60, largest: int = 4
) -> tuple[NDArray[np.int64], list[str], int]:
    """Labels of random class sizes in groups of one class each, or of any; the largest group."""
    counts = draw(st.lists(st.integers(fewest, most), min_size=2, max_size=6))
    mixed = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = np.repeat(np.arange(len(counts)), counts)
    if mixed:
        rng.shuffle(labels)
    bounds = np.cumsum(rng.integers(1, largest + 1, len(labels)))
    group_of = np.searchsorted(bounds, np.arange(len(labels)), side="right")
    if not mixed:
        group_of = group_of * len(counts) + labels
    order = rng.permutation(len(labels))
    names = [f"lesion-{g}" for g in group_of[order]]
    return labels[order], names, int(np.unique(group_of, return_counts=True)[1].max())


def ham10000(seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels and lesions in HAM10000's numbers: 10,015 images, 1,956 of 7,470 lesions in several.

    The published counts give no number of lesions for a class: here each class has its share.
    """
    rng = np.random.default_rng(seed)
    sizes = np.ones(7470, dtype=int)
    sizes[:1956] += 1
    while (missing := 10015 - sizes.sum()) > 0:
        grown = rng.choice(np.flatnonzero((sizes > 1) & (sizes < 6)), min(missing, 200), False)
        sizes[grown] += 1
    left = np.array([6705, 1113, 1099, 514, 327, 142, 115])
    labels = np.empty(len(sizes), dtype=int)
    for g in range(len(sizes)):
        room = np.where(left >= sizes[g], left, 0)
        labels[g] = rng.choice(7, p=room / room.sum())
        left[labels[g]] -= sizes[g]
    order = rng.permutation(10015)
    lesion_of = np.repeat(np.arange(len(sizes)), sizes)[order]
    return labels[lesion_of], lesion_of


@examples(60)
@given(data=grouped(), fraction=st.floats(0.2, 0.55), seed=st.integers(0, 2**32 - 1))
def test_groups_are_whole_and_their_splits_within_the_largest(
    data: tuple[NDArray[np.int64], list[str], int], fraction: float, seed: int
) -> None:
    labels, groups, largest = data
    splits = split(labels, config(fraction, seed=seed), groups)
    seen = [{groups[i] for i in part} for part in parts(splits)]
    assert sum(map(len, seen)) == len(set.union(*seen))
    together = np.concatenate(parts(splits))
    assert len(set(together.tolist())) == len(together)
    counts = np.bincount(labels)
    left = counts - per_class(labels, splits.test) - per_class(labels, splits.validation)
    for part, share in zip(parts(splits), (fraction, 0.2, 0.2), strict=True):
        bound = left if part is splits.train else counts
        # The shares themselves are rounded to whole images.
        assert abs(len(part) - min(share * len(labels), bound.sum())) < largest + 1
        wanted = np.minimum(share * counts, bound)
        assert (np.abs(per_class(labels, part) - wanted) < largest + 1).all()
    other = split(labels, config(0.6, seed=seed), groups)
    assert np.array_equal(other.test, splits.test)
    assert np.array_equal(other.validation, splits.validation)
    assert np.array_equal(split(labels, config(fraction, seed=seed), groups).train, splits.train)


def test_patients_with_images_of_many_classes() -> None:
    nested = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(1500), rng.integers(1, 4, 1500))
        labels = rng.integers(0, 10, len(groups))
        small, large = (split(labels, config(f, seed=seed), groups.tolist()) for f in (0.1, 0.3))
        counts = np.bincount(labels)
        drawn = [(small.test, 0.2), (small.validation, 0.2), (small.train, 0.1), (large.train, 0.3)]
        for part, share in drawn:
            assert (np.abs(per_class(labels, part) - share * counts) < 3 + 1).all()
        nested += set(small.train) < set(large.train)
    assert nested >= 6


def test_the_lesions_of_ham10000() -> None:
    labels, lesions = ham10000(0)
    groups = [f"HAM_{g:07d}" for g in lesions]
    chosen = [split(labels, config(f), groups) for f in (0.05, 0.1, 0.3, 0.6)]
    for smaller, larger in pairwise(chosen):
        assert set(smaller.train) < set(larger.train)
    counts = np.bincount(labels)
    _, reference = next(StratifiedGroupKFold(5).split(labels, labels, lesions))

    def furthest(part: NDArray[np.int64]) -> float:
        return float(np.abs(per_class(labels, part) - counts / 5).max())

    assert furthest(chosen[0].test) <= furthest(reference) + 1
    assert furthest(chosen[0].validation) <= furthest(reference) + 1
    seen = [set(lesions[part]) for part in parts(chosen[0])]
    assert sum(map(len, seen)) == len(set.union(*seen))


def cpu_seconds(call: Callable[[], object]) -> float:
    """The least of three."""
    times = []
    for _ in range(3):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)


@pytest.mark.parametrize("of_one_class", [True, False])
def test_time_grows_as_the_images_do(of_one_class: bool) -> None:
    def seconds(images: int) -> float:
        rng = np.random.default_rng(0)
        groups = rng.integers(0, images // 10, images)
        of_groups = rng.integers(0, 10, images // 10)[groups]
        labels = of_groups if of_one_class else rng.integers(0, 10, images)
        return cpu_seconds(lambda: split(labels, config(), groups.tolist()))

    assert seconds(70_000) < 40 * seconds(7_000)  # 100 times, if it grew as their square


def test_groups_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(UserError, match="'1' has 2 groups of images"):
        split([0] * 30 + [1] * 30, config(), groups=[*range(30), *([30, 31] * 15)])


def test_a_large_group_still_leaves_every_class_in_each_split() -> None:
    labels = np.repeat([0, 1], 30)
    splits = split(labels, config(train=0.4), groups=[*range(30), *["big"] * 28, "b", "c"])
    for part in parts(splits):
        assert set(labels[part]) == {0, 1}


@examples(40)
@given(
    holders=st.lists(st.sets(st.integers(0, 6), min_size=3, max_size=3), min_size=3, max_size=6),
    seed=st.integers(0, 99),
)
def test_a_division_is_found_where_there_is_one(holders: list[set[int]], seed: int) -> None:
    # Three groups hold each class, so each of them has to go to another split.
    labels = np.repeat(np.arange(len(holders)), 3)
    groups = [group for three in holders for group in three]
    possible = any(
        all(len({split_of[group] for group in three}) == 3 for three in holders)
        for split_of in product(range(3), repeat=7)
    )
    try:
        splits = split(labels, config(1 / 3, 1 / 3, seed), groups)
    except UserError:
        assert not possible
        return
    for part in parts(splits):
        assert set(labels[part]) == set(labels)


def test_groups_that_no_order_divides_are_refused() -> None:
    # The Fano plane: each class lies in three groups, and any two groups share a class.
    lines = ["abc", "ade", "afg", "bdf", "beg", "cdg", "cef"]
    labels = np.repeat(np.arange(7), 3)
    with pytest.raises(UserError, match=r"no way to give class '.' an image in each split"):
        split(labels, config(1 / 3, 1 / 3), list("".join(lines)))


def suggested(error: UserError) -> dict[str, float]:
    """The fractions that a message tells to use."""
    found = re.search(r"; use at least ([\d.]+)(.*)", str(error))
    if not found or error.key is None:
        return {}
    others = re.findall(r"(\w+_fraction) at least ([\d.]+)", found[2])
    own = error.key.removeprefix("data."), found[1]
    return {key: float(value) for key, value in (own, *others)}


FRACTION = st.sampled_from([0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8])


@examples(200)
@given(
    data=grouped(fewest=3, most=25, largest=3),
    fractions=st.tuples(FRACTION, FRACTION, FRACTION).filter(lambda f: sum(f) <= 1),
    alone=st.booleans(),
    seed=st.integers(0, 9),
)
def test_every_class_is_in_each_split_or_the_way_out_is_true(
    data: tuple[NDArray[np.int64], list[str], int],
    fractions: tuple[float, float, float],
    alone: bool,
    seed: int,
) -> None:
    labels, groups, largest = data
    names = None if alone else groups
    keys = [f"{name}_fraction" for name in NAMES]
    chosen = {**dict(zip(keys, fractions, strict=True)), "seed": seed}

    def tried(**changes: float) -> Splits | UserError:
        try:
            return split(labels, DataConfig(**{**chosen, **changes}), names)
        except UserError as error:
            return error

    result = tried()
    if isinstance(result, Splits):
        for part, fraction in zip(parts(result), fractions, strict=True):
            assert set(labels[part]) == set(labels)
            assert len(part) <= math.ceil(fraction * len(labels)) + (0 if alone else largest)
        return
    assert re.search(r"class '\d'|classes '\d'|such as '\d'", str(result))
    values = suggested(result)
    if values:
        assert isinstance(tried(**values), Splits)
        key = keys[[f"data.{k}" for k in keys].index(result.key or "")]
        if alone:
            fewer = (len(set(labels)) - 1) / len(labels)
            assert isinstance(tried(**{**values, key: fewer}), UserError)
    elif result.key not in ("data", "data.min_per_class"):
        key = (result.key or "").removeprefix("data.")
        others = sum(fractions) - chosen[key]
        for images in range(1, math.floor((1 - others) * len(labels) + 1e-9) + 1):
            if images < len(labels):
                assert isinstance(tried(**{key: images / len(labels)}), UserError)


def test_refusing_takes_a_few_times_as_long_as_splitting_at_most() -> None:
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 2000, 10000)
    labels = rng.integers(0, 100, 2000)[groups]
    few = DataConfig(test_fraction=0.01)
    with pytest.raises(UserError, match="whole groups with an image of each") as error:
        split(labels, few, groups.tolist())
    fraction = suggested(error.value)["test_fraction"]
    enough = DataConfig(test_fraction=fraction)

    def refuse() -> None:
        with suppress(UserError):
            split(labels, few, groups.tolist())

    splitting = cpu_seconds(lambda: split(labels, enough, groups.tolist()))
    assert cpu_seconds(refuse) < 20 * splitting
    sizes = np.bincount(groups)
    smallest = [sizes[np.unique(groups[labels == label])].min() for label in range(100)]
    assert fraction <= sum(smallest) / 10000
