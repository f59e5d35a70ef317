"""Findings of `inspect`: images, splits, duplicates, and reasons not to start a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.image_records import Finding, Problem
from revo_ray.errors import UserError

NAMED = 10
"""Highest number of pairs of duplicates that are named, of each kind."""


@dataclass(frozen=True)
class GroupCounts:
    """Numbers of groups and of images in them.

    Attributes:
        count: number of groups.
        shared: number of groups of several images.
        without: number of images without a group.
    """

    count: int
    shared: int
    without: int


@dataclass(frozen=True)
class Overlap:
    """Images of a split that stand in an earlier split too.

    Attributes:
        splits: the earlier split, and the split whose images are counted.
        same: number of images with the same pixels as one of the earlier split.
        similar: number of other images that nearly look like one of the earlier split.
        same_names, similar_names: names of the first pairs, in the order of `splits`.
    """

    splits: tuple[str, str]
    same: int
    similar: int
    same_names: tuple[tuple[str, str], ...]
    similar_names: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Inspection:
    """Findings about the configured images.

    Attributes:
        classes: (C,) class names.
        listed: number of images that the source lists, before `max_images`.
        counts: (C,) number of usable images.
        splits: (C,) images of each class in train, validation, test and none of them (`unused`);
            empty if the images cannot be split.
        sizes: width and height of the smallest, the median and the largest image, by area.
        aspects: width over height of the tallest, the median and the widest image.
        kinds: number of images of each format and mode, such as `JPEG RGB`.
        groups: counts of groups; None if no image has one.
        problems: images that cannot be used.
        overlaps: duplicates in each two splits.
        table_bytes: approximate size of the table.
        table: path of the table if it is prepared already.
        warnings: findings that the user should see, the worst first.
        obstacles: errors that keep a search from starting; empty if it can start.
    """

    classes: tuple[str, ...]
    listed: int
    counts: NDArray[np.int64]
    splits: Mapping[str, NDArray[np.int64]]
    sizes: tuple[tuple[int, int], ...]
    aspects: tuple[float, ...]
    kinds: Mapping[str, int]
    groups: GroupCounts | None
    problems: tuple[Problem, ...]
    overlaps: tuple[Overlap, ...]
    table_bytes: int
    table: Path | None
    warnings: tuple[Finding, ...]
    obstacles: tuple[UserError, ...]

    def as_json(self) -> dict[str, Any]:
        """All that was found, as values that JSON knows."""
        columns = {"images": self.counts, **self.splits}
        return {
            "can_start": not self.obstacles,
            "obstacles": [{"text": error.args[0], "key": error.key} for error in self.obstacles],
            "warnings": [
                {"topic": each.topic.name.lower(), "text": each.text, "key": each.key}
                for each in self.warnings
            ],
            "problems": [problem._asdict() for problem in self.problems],
            "listed": self.listed,
            "classes": {
                name: {column: int(numbers[i]) for column, numbers in columns.items()}
                for i, name in enumerate(self.classes)
            },
            "sizes": self.sizes,
            "aspects": self.aspects,
            "kinds": dict(self.kinds),
            "groups": None if self.groups is None else asdict(self.groups),
            "overlaps": [asdict(overlap) for overlap in self.overlaps],
            "table": {
                "bytes": self.table_bytes,
                "path": None if self.table is None else str(self.table),
            },
        }

    def check(self) -> None:
        """Raise the obstacles, if there are any.

        Raises:
            UserError: all obstacles in one line, with the key of the first.
        """
        if self.obstacles:
            first, *rest = self.obstacles
            message = "; ".join([first.args[0], *map(str, rest)])
            raise UserError(message, key=first.key)
