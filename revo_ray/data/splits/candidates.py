"""The images that splits are drawn from: all of them, or those that no given split holds."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from revo_ray.data.splits.groups import Groups, Indices, Names
from revo_ray.errors import UserError

HELD_OUT = ("test", "validation")
"""The splits that are drawn before the training images, in this order."""

Given = Sequence[str | None]
"""(N,) the split that each image was put in: train, validation, test or None."""


class Pool:
    """The images to draw from, and what is to be drawn.

    Args:
        labels: (N,) the class of each image, 0 … C-1.
        groups: the names of the groups; None: every image alone.
        classes: (C,) the names of the classes; None: the labels.
        given: the given splits; None: none.

    Attributes:
        total: N, the images of given splits too.
        names: (C,) of the classes.
        fixed: the positions of each given test or validation split.
        drawn: the other splits, in the order in which they are drawn.
        positions: (M,) of the pool's images.
        labels: (M,) their classes.
        groups: their groups.

    Raises:
        UserError: a class has too few images, or a group stands in two given splits.
    """

    def __init__(
        self,
        labels: ArrayLike,
        groups: Names | None,
        classes: Sequence[str] | None,
        given: Given | None,
    ) -> None:
        label_of = np.asarray(labels, dtype=np.int64)
        if classes is None:
            values, label_of = np.unique(label_of, return_inverse=True)
            classes = [str(value) for value in values]
        if groups is not None and len(groups) != len(label_of):
            raise ValueError(f"{len(groups)} groups for {len(label_of)} images")
        self.total, self.names = len(label_of), list(classes)
        part_of, numbers = held_out(given, self.total)
        self.fixed = {key: np.flatnonzero(part_of == number) for key, number in numbers.items()}
        self.drawn = [*(key for key in HELD_OUT if key not in self.fixed), "train"]
        free = part_of == 0
        if self.fixed and groups is not None and given is not None:
            taken = _taken(groups, given)
            free &= [group is None or group not in taken for group in groups]
        self.positions = np.flatnonzero(free)
        self.labels = label_of[free]
        names = None if groups is None else [groups[i] for i in self.positions.tolist()]
        self.groups = Groups(self.labels, names, len(self.names))
        self._check(label_of)

    def _check(self, label_of: Indices) -> None:
        """Every class has an image in each given split, and a group for each drawn one."""
        per_class = np.bincount(label_of, minlength=len(self.names))
        for label, name in enumerate(self.names):
            have = int(self.groups.per_class[label])
            absent = [key for key, part in self.fixed.items() if label not in label_of[part]]
            if have >= len(self.drawn) and not absent:
                continue
            plural = "s" * (have != 1)
            what = f"{have} image{plural}"
            if self.groups.largest > 1:
                what = f"{have} group{plural} of images"
            if not self.fixed or not per_class[label]:
                raise UserError(
                    f"class {name!r} has {what}; the train, validation and test splits need one "
                    "each: leave the class out or add images",
                    key="data",
                )
            lacks = f"{what} outside the given {_splits(self.fixed)}, "
            lacks += f"too few for the {_splits(reversed(self.drawn))}"
            if absent:
                lacks = f"no image in the given {absent[0]} split"
            raise UserError(
                f"class {name!r} has {lacks}; `data.splits: drawn` draws all three splits anew",
                key="data.splits",
            )


def _splits(keys: Iterable[str]) -> str:
    names = list(keys)
    return f"{' and '.join(names)} split{'s' * (len(names) > 1)}"


def held_out(given: Given | None, total: int) -> tuple[Indices, dict[str, int]]:
    """(N,) a number for each image's given test or validation split, else 0; and the numbers.

    Raises:
        ValueError: a split of another name, or not `total` of them.
    """
    numbers: dict[str | None, int] = {None: 0, "train": 0, "test": 1, "validation": 2}
    parts = [None] * total if given is None else given
    if len(parts) != total or not set(parts) <= set(numbers):
        raise ValueError(f"{len(parts)} given splits for {total} images: {set(parts)}")
    part_of = np.array([numbers[part] for part in parts], dtype=np.int64)
    return part_of, {key: numbers[key] for key in HELD_OUT if (part_of == numbers[key]).any()}


def _taken(groups: Names, given: Given) -> set[Hashable]:
    """The groups that stand in a given test or validation split."""
    part_of: dict[Hashable, str] = {}
    for group, part in zip(groups, given, strict=True):
        if group is None or part is None:
            continue
        other = part_of.setdefault(group, part)
        if other != part:
            raise UserError(
                f"group {group!r} stands in the given {other} and {part} splits; "
                "`data.splits: drawn` draws the splits anew, each group whole",
                key="data.splits",
            )
    return {group for group, part in part_of.items() if part in HELD_OUT}
