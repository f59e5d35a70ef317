"""Draw the splits that are not given, from one seeded order of the groups."""

from __future__ import annotations

import math

import numpy as np

from revo_ray.data.splits.candidates import Candidates
from revo_ray.data.splits.choose_groups import UncoveredError, choose_groups, shares
from revo_ray.data.splits.groups import Indices
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

DEFAULT_TRAIN = 0.05
"""Training fraction of data sets that bring no validation or test split."""

ORDERS = 50
"""Number of orders to try where classes compete for groups that hold several classes."""


class TooSmallError(Exception):
    """A split is too small for an image of each class.

    Attributes:
        split: name of the split.
        least: number of images that it needs; None if a larger split does not help.
    """

    def __init__(self, split: str, message: str, least: int | None) -> None:
        super().__init__(message)
        self.split, self.least = split, least


def draw_splits(candidates: Candidates, config: DataConfig) -> dict[str, Indices]:
    """Sorted positions of the images of every split: the given splits, and the others drawn.

    Raises:
        TooSmallError: a fraction leaves a split without a class.
        UserError: no order that was tried gives every class an image in each split.
    """
    sizes = _sizes(candidates, config)
    rng = np.random.default_rng(config.seed)
    first: list[int] = []
    for _ in range(ORDERS):
        order: list[int] = rng.permutation(len(candidates.groups.size)).tolist()
        try:
            return candidates.given | _draw(candidates, sizes, order, first)
        except UncoveredError as error:
            first.insert(0, error.label)
    raise UserError(
        f"found no way to give class {candidates.classes[first[0]]!r} an image in each split, "
        "because whole groups are drawn and hold several classes; leave the class out or add "
        "images",
        key="data",
    )


def _sizes(candidates: Candidates, config: DataConfig) -> dict[str, int]:
    """Images of each split to draw, rounded as by scikit-learn: ⌈test⌉, ⌈validation⌉, ⌊train⌋."""
    n, classes = candidates.total, len(candidates.classes)
    rarest = candidates.classes[candidates.groups.per_class.argmin()]
    of_each = f"too few for one of each of the {classes} classes (such as {rarest!r})"
    sizes = {}
    for split in candidates.to_draw:
        fraction = getattr(config, f"{split}_fraction")
        if fraction == "auto":
            fraction = "rest" if candidates.given else DEFAULT_TRAIN
        if fraction == "rest":
            fraction = 1.0  # of which the other splits leave less
        exact = fraction * n
        sizes[split] = math.floor(exact + 1e-9) if split == "train" else math.ceil(exact - 1e-9)
        if sizes[split] < classes:
            raise TooSmallError(
                split, f"{fraction:g} of {n} images is {sizes[split]}, {of_each}", classes
            )
    left = len(candidates.positions) - sum(sizes.values()) + sizes["train"]
    if left < classes:
        raise TooSmallError(
            "train", f"validation and test leave {left} of {n} images for training, {of_each}", None
        )
    return {**sizes, "train": min(sizes["train"], left)}


def _draw(
    candidates: Candidates, sizes: dict[str, int], order: list[int], first: list[int]
) -> dict[str, Indices]:
    """Draw each split that is not given from the groups in this order."""
    groups, classes = candidates.groups, candidates.classes
    counts = left = np.bincount(candidates.labels, minlength=len(classes))
    drawn = {}
    for i, split in enumerate(candidates.to_draw):
        keep = len(candidates.to_draw) - 1 - i
        limits = left - keep
        size = min(sizes[split], int(limits.sum()))
        quotas = shares(counts, size, limits)
        # Moves that balance a training split break the nesting of smaller ones in larger ones,
        # so its bounds are wide.
        slack = groups.largest - 1 if split == "train" else groups.largest / 2
        chosen = choose_groups(groups, order, quotas, (-slack, slack), keep=keep, first=first)
        images = groups.images(chosen)
        got = np.bincount(candidates.labels[images], minlength=len(classes))
        if len(images) - size > groups.largest:
            raise TooSmallError(
                split,
                f"{size} {split} images are asked for, but whole groups with an image of each of "
                f"the {len(classes)} classes (such as {classes[(got - quotas).argmax()]!r}) "
                f"are {len(images)}",
                len(images) - groups.largest,
            )
        taken = set(chosen)
        order = [g for g in order if g not in taken]
        left = left - got
        drawn[split] = candidates.positions[images]
    return drawn
