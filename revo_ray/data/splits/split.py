"""Training, validation and test images: given or drawn, stratified, no group in two of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError

from revo_ray.data.splits.candidates import Given, Pool, held_out
from revo_ray.data.splits.groups import Groups, Names, UncoveredError, draw, shares
from revo_ray.data.splits.groups import Indices as Indices
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

ORDERS = 50
"""Orders to try where groups of several classes get in each other's way."""
TRIES = 20
"""Fractions to try in search of the smallest that works."""


@dataclass(frozen=True)
class Splits:
    """Positions of images, sorted; no position stands in two of the three arrays."""

    train: Indices
    validation: Indices
    test: Indices


def split(
    labels: ArrayLike,
    config: DataConfig,
    groups: Names | None = None,
    classes: Sequence[str] | None = None,
    given: Given | None = None,
) -> Splits:
    """Find the three splits: every class has its share in each, and at least one image.

    The test and validation images are those given, if any are; else they are drawn from the other
    images, in one seeded order. The training images are drawn from what is left. So the test and
    validation images are the same at every `train_fraction`. A larger training set contains a
    smaller one, but for the rounding of a class's share, and but for a few groups where groups
    hold several classes or are large beside a class's share.

    Without groups a split has its exact size, and a class its share within one image, but for the
    one that it has at least and for training images of a class of which no more are left. With
    groups a split's size is within the largest group, and so is the share of each class, as far
    as groups of several classes let it be.

    Args:
        labels: (N,) the class of each image, 0 … C-1.
        config: the three fractions, of all N images, the seed, and whether given splits count.
        groups: (N,) what must not stand in two splits; None, or a None in it: an image alone.
        classes: (C,) the names of the classes, for error messages.
        given: (N,) the split that each image was put in, `train`, `validation`, `test` or None.
            Only what is given for training, or not at all, is drawn from; an image that is not
            given is left out if its group stands in a given test or validation split.

    Raises:
        UserError: a class cannot have an image in each split; names the class, and the smallest
            fraction that works where one does. Or a group stands in two given splits.
    """
    pool = Pool(labels, groups, classes, given if config.splits == "given" else None)
    try:
        return _drawn(pool, config)
    except _TooSmallError as error:
        raise UserError(
            f"{error}; {_way_out(pool, config, error)}", key=f"data.{error.key}_fraction"
        ) from None


def subset(
    labels: ArrayLike,
    count: int,
    seed: int,
    groups: Names | None = None,
    given: Given | None = None,
) -> Indices:
    """Positions of at most `count` of the images, sorted; every class keeps its share.

    Without groups and given splits they are `count` images, and every class has at least one.
    Groups are whole, so that fewer images than the largest group may be missing. With groups
    every class has three of them, and with given splits an image in each and one for each that
    is to be drawn, where `count` has room for that.

    Args:
        labels: (N,) the class of each image.
        count: images; N or more choose all.
        seed: of the order from which they are chosen.
        groups: (N,) what is kept whole; None, or a None in it: an image alone.
        given: (N,) the given splits, if each is to keep its share.

    Raises:
        UserError: `count` is too small for an image of each class (in each given split).
    """
    values, label_of = np.unique(np.asarray(labels), return_inverse=True)
    if count >= len(label_of):
        return np.arange(len(label_of))
    part_of, parts = held_out(given, len(label_of))
    cells, cell_of = np.unique(label_of * 3 + part_of, return_inverse=True)
    sets = Groups(cell_of, groups, len(cells))
    needs = np.where(cells % 3 == 0, 3 - len(parts), 1)
    if sets.largest == 1 and not parts:
        needs = np.ones_like(cells)
    order = np.random.default_rng(seed).permutation(len(sets.size)).tolist()
    fewest = count
    for _ in range(TRIES):
        images = _about(sets, np.bincount(cell_of), order, fewest, needs)
        if len(images) <= fewest:
            break
        fewest = len(images)
    if fewest == count:
        return images
    where = " in each given split" * bool(parts) + " in whole groups" * (sets.largest > 1)
    raise UserError(
        f"{count} images cannot hold one of each of the {len(values)} classes{where}; "
        f"use at least {fewest}",
        key="data.max_images",
    )


def _about(
    groups: Groups, counts: Indices, order: list[int], count: int, needs: Indices
) -> Indices:
    """At most `count` images if each class can have one; so many groups of it, if there is room."""
    ones = np.ones_like(needs)
    for need in (np.minimum(needs, groups.per_class), ones):
        quotas = shares(counts, max(count, int(need.sum())), counts, need)
        within = (0, groups.largest - 1)
        images = groups.images(draw(groups, order, quotas, within, need=need.tolist()))
        if len(images) <= count:
            break
    return images


class _TooSmallError(Exception):
    """A split cannot hold an image of each class; it needs `least` images, None: does not help."""

    def __init__(self, key: str, message: str, least: int | None) -> None:
        super().__init__(message)
        self.key, self.least = key, least


def _drawn(pool: Pool, config: DataConfig) -> Splits:
    """The given splits and the drawn ones."""
    sizes = _sizes(pool, config)
    rng = np.random.default_rng(config.seed)
    first: list[int] = []
    for _ in range(ORDERS):
        order: list[int] = rng.permutation(len(pool.groups.size)).tolist()
        try:
            return Splits(**pool.fixed, **_draw(pool, sizes, order, first))
        except UncoveredError as error:
            first.insert(0, error.label)
    raise UserError(
        f"found no way to give class {pool.names[first[0]]!r} an image in each split, because "
        "whole groups are drawn and hold several classes; leave the class out or add images",
        key="data",
    )


def _sizes(pool: Pool, config: DataConfig) -> dict[str, int]:
    """Images for each split to draw, as scikit-learn rounds: ⌈test⌉, ⌈validation⌉, ⌊train⌋."""
    n, classes = pool.total, len(pool.names)
    rarest = pool.names[pool.groups.per_class.argmin()]
    of_each = f"too few for one of each of the {classes} classes (such as {rarest!r})"
    sizes = {}
    for key in pool.drawn:
        fraction = getattr(config, f"{key}_fraction")
        exact = fraction * n
        sizes[key] = math.floor(exact + 1e-9) if key == "train" else math.ceil(exact - 1e-9)
        if sizes[key] < classes:
            raise _TooSmallError(
                key, f"{fraction:g} of {n} images is {sizes[key]}, {of_each}", classes
            )
    left = len(pool.positions) - sum(sizes.values()) + sizes["train"]
    if left < classes:
        raise _TooSmallError(
            "train", f"validation and test leave {left} of {n} images for training, {of_each}", None
        )
    return {**sizes, "train": min(sizes["train"], left)}


def _draw(
    pool: Pool, sizes: dict[str, int], order: list[int], first: list[int]
) -> dict[str, Indices]:
    """Positions of the images of each split that is not given, drawn from one order."""
    largest = pool.groups.largest
    counts = left = np.bincount(pool.labels, minlength=len(pool.names))
    drawn = {}
    for i, key in enumerate(pool.drawn):
        keep = len(pool.drawn) - 1 - i
        limits = left - keep
        size = min(sizes[key], int(limits.sum()))
        quotas = shares(counts, size, limits)
        # What is moved to be nearer breaks the nesting of training sets: do so only where needed.
        slack = largest - 1 if key == "train" else largest / 2
        chosen = draw(pool.groups, order, quotas, (-slack, slack), keep=keep, first=first)
        images = pool.groups.images(chosen)
        got = np.bincount(pool.labels[images], minlength=len(pool.names))
        if len(images) - size > largest:
            raise _TooSmallError(
                key,
                f"{size} {key} images are asked for, but whole groups with an image of each of "
                f"the {len(pool.names)} classes (such as {pool.names[(got - quotas).argmax()]!r}) "
                f"are {len(images)}",
                len(images) - largest,
            )
        taken = set(chosen)
        order = [g for g in order if g not in taken]
        left = left - got
        drawn[key] = pool.positions[images]
    return drawn


def _way_out(pool: Pool, config: DataConfig, error: _TooSmallError) -> str:
    """The smallest fractions that work, or what else does."""
    raised = _smallest(pool, config, error)
    if raised:
        own, *others = (f"{value:.9f}".rstrip("0") for value in raised.values())
        also = zip(list(raised)[1:], others, strict=True)
        return f"use at least {own}" + "".join(f", and {key} at least {x}" for key, x in also)
    smaller = [key for key in ("validation", "test", "train") if key != error.key]
    works = f"no {error.key}_fraction works beside the others: "
    if error.least is None:
        smaller, works = [key for key in smaller if key in pool.drawn], ""
    keys = " or ".join(f"{key}_fraction" for key in smaller)
    return f"{works}use a smaller {keys}, leave the class out or add images"


def _smallest(pool: Pool, config: DataConfig, error: _TooSmallError) -> dict[str, float] | None:
    """The fractions that have to be raised, the one in question first; None if that is no help."""
    scale = 10 ** max(4, len(str(pool.total)))
    least: dict[str, int] = {}
    raised: dict[str, float] = {}
    for _ in range(TRIES):
        if error.least is None:
            return None
        least[error.key] = max(error.least, least.get(error.key, 0) + 1)
        steps, rest = divmod(least[error.key] * scale, pool.total)
        # `_sizes` rounds training images down and the others up.
        steps += error.key == "train" and rest > 0
        raised[f"{error.key}_fraction"] = steps / scale
        try:
            _drawn(pool, DataConfig.model_validate(config.model_dump() | raised))
        except _TooSmallError as following:
            error = following
        except (ValidationError, UserError):
            return None
        else:
            return raised
    return None
