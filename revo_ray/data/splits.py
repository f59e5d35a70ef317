"""Training, validation and test images: stratified, seeded, and no group in two of them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from revo_ray.config import DataConfig
from revo_ray.errors import UserError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Positions of images, sorted; no position stands in two of the three arrays."""

    train: Indices
    validation: Indices
    test: Indices


def split(
    labels: ArrayLike,
    config: DataConfig,
    groups: Sequence[Hashable | None] | None = None,
    classes: Sequence[str] | None = None,
) -> Splits:
    """Draw the three splits; every class has its share in each, and at least one image.

    The test images are drawn first, then the validation images, then the training images from the
    rest, each class from one seeded order. So the test and validation images are the same at
    every `train_fraction`, and a larger training set contains a smaller one, but for the rounding
    of a class's share. With groups the sizes are approximate.

    Args:
        labels: (N,) the class of each image, 0 … C-1.
        config: the three fractions and the seed.
        groups: (N,) what must not stand in two splits; None, or a None in it: an image alone.
        classes: (C,) the names of the classes, for error messages.

    Raises:
        UserError: a class cannot have an image in each split; names the class, and the smallest
            fraction that works where one does.
    """
    label_of = np.asarray(labels, dtype=np.int64)
    names = list(classes) if classes is not None else [str(c) for c in np.unique(label_of)]
    if classes is None:
        label_of = np.unique(label_of, return_inverse=True)[1]
    totals = _sizes(label_of, config, names)

    members, strata = _groups(label_of, groups, len(names))
    counts = np.bincount(label_of, minlength=len(names))
    for c, name in enumerate(names):
        have = sum(stratum == c for stratum in strata)
        if have < 3:
            what = "images" if groups is None else "groups of images"
            raise UserError(
                f"class {name!r} has {have} {what}; the train, validation and test splits need "
                f"one each: leave the class out or add images",
                key="data",
            )

    order = np.random.default_rng(config.seed).permutation(len(members))
    queues = [[members[g] for g in order if strata[g] == c] for c in range(len(names))]
    chosen, left = [], counts
    for later, total in zip((2, 1, 0), totals, strict=True):
        quotas = _shares(counts, total, left - later)
        taken = [_take(queue, quota, later) for queue, quota in zip(queues, quotas, strict=True)]
        chosen.append(np.sort(np.concatenate([i for part in taken for i in part])))
        left = left - quotas
    test, validation, train = chosen
    splits = Splits(train, validation, test)
    _check(splits, label_of, names)
    return splits


def stratified_subset(labels: ArrayLike, count: int, seed: int) -> Indices:
    """Positions of `count` of the images, sorted; every class keeps its share, one at least.

    Raises:
        ValueError: `count` is smaller than the number of classes, or larger than N.
    """
    classes, label_of, counts = np.unique(
        np.asarray(labels), return_inverse=True, return_counts=True
    )
    if not len(classes) <= count <= len(label_of):
        raise ValueError(f"{count} of {len(label_of)} images of {len(classes)} classes")
    order = np.random.default_rng(seed).permutation(len(label_of))
    quotas = _shares(counts, count, counts)
    parts = [order[label_of[order] == c][:quota] for c, quota in enumerate(quotas)]
    return np.sort(np.concatenate(parts)).astype(np.int64)


def _sizes(labels: Indices, config: DataConfig, names: list[str]) -> tuple[int, int, int]:
    """Images for test, validation and training, as scikit-learn rounds: ⌈test⌉, ⌊train⌋."""
    n, rarest = len(labels), int(np.bincount(labels, minlength=len(names)).argmin())
    test, validation = (
        math.ceil(fraction * n - 1e-9)
        for fraction in (config.test_fraction, config.validation_fraction)
    )
    left = n - test - validation
    train = math.floor(config.train_fraction * n + 1e-9)
    for key, size in (("test", test), ("validation", validation), ("train", train)):
        if size < len(names):
            smallest = math.ceil(1e4 * len(names) / max(n, 1)) / 1e4
            way_out = f"use at least {smallest:g}" if smallest < 1 else "add images"
            raise UserError(
                f"{getattr(config, f'{key}_fraction'):g} of {n} images is {size}, too few for one "
                f"of each of the {len(names)} classes (such as {names[rarest]!r}); {way_out}",
                key=f"data.{key}_fraction",
            )
    if left < len(names):
        raise UserError(
            f"validation and test leave {left} of {n} images for training, too few for one of "
            f"each of the {len(names)} classes (such as {names[rarest]!r}); use a smaller "
            f"validation_fraction or test_fraction",
            key="data.train_fraction",
        )
    return test, validation, min(train, left)


def _groups(
    labels: Indices, groups: Sequence[Hashable | None] | None, classes: int
) -> tuple[list[Indices], list[int]]:
    """The images of each group, and the class that most of them have."""
    if groups is None:
        groups = [None] * len(labels)
    if len(groups) != len(labels):
        raise ValueError(f"{len(groups)} groups for {len(labels)} images")
    positions: dict[Hashable, list[int]] = {}
    for i, group in enumerate(groups):
        positions.setdefault(("image", i) if group is None else ("group", group), []).append(i)
    members = [np.array(p, dtype=np.int64) for p in positions.values()]
    strata = [int(np.bincount(labels[m], minlength=classes).argmax()) for m in members]
    return members, strata


def _shares(counts: Indices, total: int, limits: Indices) -> Indices:
    """Part `total` in proportion to `counts`, each part at least 1 and at most its limit."""
    exact = counts * (total / counts.sum())
    parts = np.clip(np.floor(exact).astype(np.int64), 1, limits)
    while parts.sum() != total:
        step = 1 if parts.sum() < total else -1
        room = parts < limits if step == 1 else parts > 1
        parts[np.where(room, step * (exact - parts), -np.inf).argmax()] += step
    return parts


def _take(queue: list[Indices], quota: int, later: int) -> list[Indices]:
    """Move groups from the queue, up to `quota` images; leaves `later` groups at least."""
    taken: list[Indices] = []
    kept: list[Indices] = []
    size = 0
    for i, group in enumerate(queue):
        if size + len(group) <= quota and len(kept) + len(queue) - i > later:
            taken.append(group)
            size += len(group)
        else:
            kept.append(group)
    if not taken:
        taken.append(kept.pop(min(range(len(kept)), key=lambda i: len(kept[i]))))
    queue[:] = kept
    return taken


def _check(splits: Splits, labels: Indices, names: list[str]) -> None:
    """Groups of mixed classes can leave a class out: say so rather than train without it."""
    for key in ("train", "validation", "test"):
        missing = set(range(len(names))) - set(labels[getattr(splits, key)].tolist())
        if missing:
            raise UserError(
                f"no image of class {names[min(missing)]!r} in the {key} split, because whole "
                f"groups are drawn; use a larger fraction",
                key=f"data.{key}_fraction",
            )
