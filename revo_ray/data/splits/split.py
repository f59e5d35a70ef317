"""Training, validation and test images: given or drawn, stratified, with whole groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from revo_ray.data.image_records import Record
from revo_ray.data.splits.candidates import Candidates, GivenSplits
from revo_ray.data.splits.draw import DEFAULT_TRAIN, TooSmallError, draw_splits
from revo_ray.data.splits.groups import GroupNames
from revo_ray.data.splits.groups import Indices as Indices
from revo_ray.data.splits.suggestion import suggest
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig


@dataclass(frozen=True)
class Splits:
    """Sorted positions of the images of each split; no position stands in two of them."""

    train: Indices
    validation: Indices
    test: Indices


def split(
    labels: ArrayLike,
    config: DataConfig,
    groups: GroupNames | None = None,
    classes: Sequence[str] | None = None,
    given: GivenSplits | None = None,
) -> Splits:
    """Find the three splits: every class has its share in each, and at least one image.

    Given test and validation images are taken as they are. Otherwise they are drawn, in one
    seeded order, from the images that are left, and the training images from the rest. So the
    test and validation images are the same at every `train_fraction`. A larger training set
    contains a smaller one, except for rounding, and for a few groups if groups hold several
    classes or are large beside a class's share.

    Without groups a split has its exact size, and a class its share within one image. A class has
    more than its share where that is less than one image, and fewer training images where no
    more are left. With groups, sizes and shares are within the largest group, as far as groups of
    several classes allow.

    Args:
        labels: (N,) class of each image, 0 … C-1.
        config: fractions of all N images, seed, and whether given splits count. With
            `train_fraction: rest` all images train that validation and test leave.
        groups: (N,) group of each image, which stays in one split; None if all stand alone.
        classes: (C,) class names for error messages.
        given: (N,) given split of each image: `train`, `validation`, `test` or None. Drawn are
            only images given for training or not at all. An image that is not given is left out
            if its group stands in a given test or validation split.

    Raises:
        UserError: a class cannot have an image in each split (the message names the class, and
            the smallest fraction that works if one does), or a group stands in two given splits.
    """
    candidates = Candidates(labels, groups, classes, given if config.splits != "drawn" else None)
    try:
        return Splits(**draw_splits(candidates, config))
    except TooSmallError as error:
        raise UserError(
            f"{error}; {suggest(candidates, config, error)}", key=f"data.{error.split}_fraction"
        ) from None


def train_fraction(given: GivenSplits | None, config: DataConfig) -> float | Literal["rest"]:
    """The training fraction that `auto` stands for with these given splits, or the configured."""
    if config.train_fraction != "auto":
        return config.train_fraction
    used = config.splits != "drawn" and given is not None and not set(given) <= {None, "train"}
    return "rest" if used else DEFAULT_TRAIN


def split_records(records: Sequence[Record], classes: Sequence[str], config: DataConfig) -> Splits:
    """Find the splits of records by their labels, groups and given splits.

    Raises:
        UserError: as `split`.
    """
    position = {name: i for i, name in enumerate(classes)}
    return split(
        [position[record.label] for record in records],
        config,
        groups=[record.group for record in records],
        classes=classes,
        given=[record.split for record in records],
    )
