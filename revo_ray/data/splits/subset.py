"""Choose the images that `data.max_images` leaves, so that every class keeps its share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from revo_ray.data.image_records import Record
from revo_ray.data.splits.candidates import GivenSplits, held_out
from revo_ray.data.splits.choose_groups import choose_groups, shares
from revo_ray.data.splits.groups import GroupNames, Groups, Indices
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

TRIES = 20
"""Number of sizes to try in search of the smallest that works."""


def limit_records(records: Sequence[Record], config: DataConfig) -> Sequence[Record]:
    """Return all records, or a subset of at most `max_images`.

    Raises:
        UserError: `max_images` is too small for an image of each class.
    """
    if config.max_images is None or config.max_images >= len(records):
        return records
    chosen = subset(
        [record.label for record in records],
        config.max_images,
        config.seed,
        groups=[record.group for record in records],
        given=[record.split for record in records] if config.splits != "drawn" else None,
    )
    return [records[i] for i in chosen]


def subset(
    labels: ArrayLike,
    count: int,
    seed: int,
    groups: GroupNames | None = None,
    given: GivenSplits | None = None,
) -> Indices:
    """Sorted positions of at most `count` of the images; every class keeps its share.

    Without groups and given splits the subset has exactly `count` images, and at least one of
    each class. Groups stay whole, so up to one group fewer may be chosen. If `count` has room,
    every class gets three groups; with given splits, an image in each of them and one for each
    split that is to be drawn.

    Args:
        labels: (N,) class of each image.
        count: number of images; N or more choose all.
        seed: seed of the order in which images are chosen.
        groups: (N,) group of each image; None if all stand alone.
        given: (N,) given splits, if each must keep its share.

    Raises:
        UserError: `count` is too small for an image of each class (in each given split).
    """
    values, label_of = np.unique(np.asarray(labels), return_inverse=True)
    if count >= len(label_of):
        return np.arange(len(label_of))
    split_of, given_splits = held_out(given, len(label_of))
    # The shares of each class in each given split are kept: such a cell counts as a class here.
    cells, cell_of = np.unique(label_of * 3 + split_of, return_inverse=True)
    cell_groups = Groups(cell_of, groups, len(cells))
    need = np.where(cells % 3 == 0, 3 - len(given_splits), 1)
    if cell_groups.largest == 1 and not given_splits:
        need = np.ones_like(cells)
    order = np.random.default_rng(seed).permutation(len(cell_groups.size)).tolist()
    fewest = count
    for _ in range(TRIES):
        images = _choose_images(cell_groups, np.bincount(cell_of), order, fewest, need)
        if len(images) <= fewest:
            break
        fewest = len(images)
    if fewest == count:
        return images
    where = " in each given split" * bool(given_splits)
    where += " in whole groups" * (cell_groups.largest > 1)
    raise UserError(
        f"{count} images cannot hold one of each of the {len(values)} classes{where}; "
        f"use at least {fewest}",
        key="data.max_images",
    )


def _choose_images(
    groups: Groups, counts: Indices, order: list[int], count: int, need: Indices
) -> Indices:
    """Choose about `count` images: `need` groups of each class, or one if that is too many."""
    for least in (np.minimum(need, groups.per_class), np.ones_like(need)):
        quotas = shares(counts, max(count, int(least.sum())), counts, least)
        bounds = (0, groups.largest - 1)
        images = groups.images(choose_groups(groups, order, quotas, bounds, need=least.tolist()))
        if len(images) <= count:
            break
    return images
