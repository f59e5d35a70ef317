"""The rules that splits stand on: parts within bounds, and groups for each class."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.data.splits.choose_groups import UncoveredError, choose_groups, shares
from revo_ray.data.splits.groups import Groups
from tests.properties import examples


@examples(150)
@given(
    classes=st.lists(
        st.tuples(st.sampled_from([1, 2, 5, 40]), st.integers(1, 9), st.integers(0, 9)),
        min_size=1,
        max_size=6,
    ),
    part=st.sampled_from([0.0, 0.05, 0.2, 0.5, 1.0]),
    default=st.booleans(),
)
def test_parts_add_up_and_each_has_at_least_its_least_and_at_most_its_limit(
    classes: list[tuple[int, int, int]], part: float, default: bool
) -> None:
    counts, least, more = map(np.array, zip(*classes, strict=True))
    least = np.ones_like(least) if default else least
    limits = least + more
    total = int(least.sum() + part * more.sum())
    parts = shares(counts, total, limits) if default else shares(counts, total, limits, least)
    assert parts.sum() == total
    assert (parts >= least).all()
    assert (parts <= limits).all()


@st.composite
def groups(draw: st.DrawFn) -> Groups:
    """Groups of one to four images, of one class or of several."""
    count, seed = draw(st.integers(1, 4)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(16), rng.integers(1, 5, 16))
    labels = rng.integers(0, count, len(number))
    if draw(st.booleans()):
        labels = number % count
    return Groups(labels, [str(name) for name in number], count)


@examples(150)
@given(
    groups=groups(),
    keep=st.integers(0, 2),
    need=st.integers(0, 3),
    share=st.floats(0, 1),
    tight=st.booleans(),
    data=st.data(),
)
def test_each_class_gets_the_groups_that_it_needs_and_keeps_those_that_others_need(
    groups: Groups, keep: int, need: int, share: float, tight: bool, data: st.DataObject
) -> None:
    free = data.draw(st.permutations(range(len(groups.size))))
    free = free[: data.draw(st.integers(12, len(free)))]
    images = np.bincount(groups.cells[1], groups.cells[2], len(groups.per_class))
    quotas, slack = (share * images).astype(np.int64), 0.5 if tight else groups.largest
    needs = None if need == 1 else [need] * len(images)
    try:
        chosen = choose_groups(groups, free, quotas, (-slack, slack), keep=keep, need=needs)
    except UncoveredError:
        return
    assert chosen == [g for g in free if g in set(chosen)]
    for label in range(len(images)):
        holders = [g for g in free if label in dict(groups.content[g])]
        taken = len(set(holders) & set(chosen))
        assert taken >= need
        assert taken == 0 or len(holders) - taken >= keep
