"""Splits of any table: disjoint, whole groups, a given split as it is, an image of each class."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from revo_ray.data.image_records import ArrayPicture, Record, Source
from revo_ray.data.sources.small_classes import without_small_classes
from revo_ray.data.splits.split import Splits, split, split_records, train_fraction
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from tests.properties import examples

NAMES = ("train", "validation", "test")
HELD_OUT = ("test", "validation")


@dataclass(frozen=True)
class Table:
    """Labels (N,), groups (N,) or None, and the given splits (N,)."""

    labels: NDArray[np.int64]
    groups: list[str | None] | None
    marks: list[str | None]

    def split(self, config: DataConfig) -> Splits | UserError:
        try:
            return split(self.labels, config, self.groups, given=self.marks)
        except UserError as error:
            return error

    def given(self, config: DataConfig) -> dict[str, set[int]]:
        """Images of each test or validation split that is given, and counts."""
        kept = {n: {i for i, m in enumerate(self.marks) if m == n} for n in HELD_OUT}
        return {n: images for n, images in kept.items() if images and config.splits == "given"}


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Any class sizes; no groups, groups of one class, or of several; given splits or none."""
    sizes = st.sampled_from([*range(6, 30), *range(3, 6), draw(st.sampled_from([1, 3, 9, 27]))])
    counts = draw(st.lists(sizes, min_size=2, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = np.repeat(np.arange(len(counts)), counts)
    n = len(labels)
    kind = draw(st.sampled_from(["none", "alone", "one class", "any"]))
    if kind == "any":
        rng.shuffle(labels)
    bounds = np.cumsum(rng.integers(1, 4, n))
    part = np.searchsorted(bounds, np.arange(n), side="right")
    groups = [
        f"{g} {label if kind == 'one class' else ''}" for g, label in zip(part, labels, strict=True)
    ]
    marks = draw(st.sampled_from([[None], ["train"], ["train", "test"], [*NAMES, None], ["test"]]))
    whole = draw(st.booleans())  # each group in one given split
    marked = [marks[int(part[i] if whole else i) % len(marks)] for i in range(n)]
    order = rng.permutation(n)
    return Table(
        labels[order],
        {"none": None, "alone": [None] * n}.get(kind, [groups[i] for i in order]),
        [marked[i] for i in order],
    )


@st.composite
def configs(draw: st.DrawFn) -> DataConfig:
    shares = np.array(draw(st.tuples(*[st.integers(1, 6)] * 3)))
    train, validation, test = shares / shares.sum() * draw(st.sampled_from([1.0, 0.9, 0.5]))
    return DataConfig(
        train_fraction=draw(st.sampled_from([train, train, "rest", "auto"])),
        validation_fraction=validation,
        test_fraction=test,
        splits=draw(st.sampled_from(["given", "drawn"])),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@examples(300)
@given(table=tables(), config=configs(), other_train=st.floats(0.01, 0.9))
def test_splits_of_any_table_are_what_they_promise(
    table: Table, config: DataConfig, other_train: float
) -> None:
    found = table.split(config)
    if isinstance(found, UserError):
        assert len(str(found).splitlines()) == 1
        assert (found.key or "").startswith("data")
        return
    parts = {name: set(getattr(found, name).tolist()) for name in NAMES}
    images = set(range(len(table.labels)))
    assert sum(map(len, parts.values())) == len(set.union(*parts.values()))
    assert set.union(*parts.values()) <= images
    for name in NAMES:
        assert (np.diff(getattr(found, name)) > 0).all()
        assert set(table.labels[getattr(found, name)]) == set(table.labels)
    kept = table.given(config)
    for name, given_images in kept.items():
        assert parts[name] == given_images
    if table.groups is not None:
        own = [{table.groups[i] for i in part} - {None} for part in parts.values()]
        assert sum(map(len, own)) == len(set.union(*own))
        for name in set(NAMES) - set(kept):  # drawn: no image of a group is left behind
            inside = {table.groups[i] for i in parts[name]} - {None}
            assert {i for i in images if table.groups[i] in inside} == parts[name] - {
                i for i in parts[name] if table.groups[i] is None
            }
    if config.train_fraction == "rest" or (config.train_fraction == "auto" and kept):
        assert left_out(table, config, parts) == set()
    again, other = table.split(config), table.split(with_train(config, other_train))
    assert isinstance(again, Splits)
    for name in NAMES:
        assert np.array_equal(getattr(again, name), getattr(found, name))
    if isinstance(other, Splits):
        assert np.array_equal(other.test, found.test)
        assert np.array_equal(other.validation, found.validation)


def left_out(table: Table, config: DataConfig, parts: dict[str, set[int]]) -> set[int]:
    """Images in no split whose group stands in no given test or validation split."""
    kept = table.given(config)
    groups = table.groups or [None] * len(table.labels)
    held = {groups[i] for images in kept.values() for i in images} - {None}
    images = set(range(len(table.labels))) - set.union(*parts.values())
    return {i for i in images if groups[i] not in held}


def with_train(config: DataConfig, fraction: float) -> DataConfig:
    """The same, with as large a training fraction as fits beside the others."""
    room = 1 - config.validation_fraction - config.test_fraction
    return config.model_copy(update={"train_fraction": min(fraction, max(room, 0.01))})


@examples(300)
@given(table=tables(), config=configs())
def test_images_that_stand_alone_are_split_wherever_each_split_can_have_one_of_each_class(
    table: Table, config: DataConfig
) -> None:
    """The splits then have their exact sizes; there is no other ground for a refusal."""
    alone = Table(table.labels, None, table.marks)
    kept = alone.given(config)
    found = alone.split(config)
    free = sorted(set(range(len(table.labels))).difference(*kept.values()))
    classes, n = len(set(table.labels)), len(table.labels)
    to_draw = [name for name in ("test", "validation", "train") if name not in kept]
    train = train_fraction(table.marks, config)
    fractions = {name: getattr(config, f"{name}_fraction") for name in to_draw}
    fractions["train"] = 1.0 if train == "rest" else train
    exact = {name: fractions[name] * n for name in to_draw}
    sizes = {
        name: math.floor(size + 1e-9) if name == "train" else math.ceil(size - 1e-9)
        for name, size in exact.items()
    }
    left = len(free) - sum(sizes[name] for name in to_draw if name != "train")
    per_class = np.bincount(table.labels[free], minlength=classes)
    possible = (
        per_class.min() >= len(to_draw)
        and all(set(table.labels[sorted(images)]) == set(table.labels) for images in kept.values())
        and min(*sizes.values(), left) >= classes
    )
    assert isinstance(found, Splits) == possible, found
    if isinstance(found, Splits):
        sizes["train"] = min(sizes["train"], left)
        assert {name: len(getattr(found, name)) for name in to_draw} == sizes


@examples(100)
@given(table=tables(), config=configs(), least=st.integers(2, 8))
def test_classes_that_min_per_class_leaves_divide_as_if_there_were_no_others(
    table: Table, config: DataConfig, least: int
) -> None:
    groups = table.groups or [None] * len(table.labels)
    records = tuple(
        Record(str(i), str(label), ArrayPicture(np.zeros((1, 1), np.uint8)), groups[i], mark)
        for i, (label, mark) in enumerate(zip(table.labels.tolist(), table.marks, strict=True))
    )
    classes = tuple(map(str, np.unique(table.labels)))
    large = np.flatnonzero(np.bincount(table.labels) >= least)
    source = Source(classes, records)
    if len(large) < 2:
        with pytest.raises(UserError, match="two at least"):
            without_small_classes(source, least)
        return
    kept = without_small_classes(source, least)
    assert kept.classes == tuple(map(str, large))
    rows = np.flatnonzero(np.isin(table.labels, large))
    assert [int(record.name) for record in kept.records] == rows.tolist()
    assert len(kept.warnings) == (len(large) < len(classes))
    alone = Table(table.labels[rows], [groups[i] for i in rows], [table.marks[i] for i in rows])
    expected = alone.split(config)
    if isinstance(expected, UserError):
        with pytest.raises(UserError) as error:
            split_records(kept.records, kept.classes, config)
        for suggested in re.findall(r"min_per_class: ([0-9]+)", str(error.value)):
            assert int(suggested) > least
        return
    found = split_records(kept.records, kept.classes, config)
    for name in NAMES:
        assert np.array_equal(getattr(found, name), getattr(expected, name))


def test_all_classes_that_cannot_be_split_are_named_with_the_key_that_leaves_them_out() -> None:
    counts = [20, 20, *[1] * 30]
    labels = np.repeat(np.arange(32), counts)
    classes = ["cat", "dog", *(f"rare{i:02d}" for i in range(30))]
    with pytest.raises(UserError) as error:
        split(labels, DataConfig(train_fraction="rest"), classes=classes)
    assert error.value.key == "data.min_per_class"
    assert all(repr(name) in str(error.value) for name in classes[2:])
    assert "`data.min_per_class: 2`" in str(error.value)


def test_given_splits_are_used_whole_without_arithmetic() -> None:
    marks = ["train"] * 80 + ["validation"] * 10 + ["test"] * 10
    labels = np.arange(100) % 2
    found = split(labels, DataConfig(), given=marks)
    assert [len(getattr(found, name)) for name in NAMES] == [80, 10, 10]
    drawn = split(labels, DataConfig(splits="drawn"), given=marks)
    assert [len(getattr(drawn, name)) for name in NAMES] == [5, 20, 20]
    rest = split(labels, DataConfig(splits="drawn", train_fraction="rest"), given=marks)
    assert [len(getattr(rest, name)) for name in NAMES] == [60, 20, 20]
    half = ["train"] * 90 + ["test"] * 10
    found = split(labels, DataConfig(), given=half)
    assert [len(getattr(found, name)) for name in NAMES] == [70, 20, 10]
