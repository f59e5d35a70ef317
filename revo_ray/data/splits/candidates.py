"""Candidates: the images that splits are drawn from, once the given splits are set aside."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from revo_ray.data.splits.groups import GroupNames, Groups, Indices
from revo_ray.errors import UserError
from revo_ray.words import counted

HELD_OUT = ("test", "validation")
"""Names of the splits that are drawn before the training split, in this order."""

NAMED = 50
"""Most classes of one fault that an error names."""

GivenSplits = Sequence[str | None]
"""(N,) split that the data set gives each image: train, validation, test or None."""


class Candidates:
    """Images that splits are drawn from, and the names of the splits to draw.

    Args:
        labels: (N,) class of each image, 0 … C-1.
        groups: (N,) group of each image; None if every image stands alone.
        classes: (C,) class names; None takes the labels as names.
        given: (N,) given splits; None if there are none.

    Attributes:
        total: N; counts the images of given splits too.
        classes: (C,) class names.
        given: positions of the images in each given test or validation split.
        to_draw: names of the other splits, in the order of drawing.
        positions: (M,) position of each candidate among the N images.
        labels: (M,) class of each candidate.
        groups: groups of the candidates.

    Raises:
        UserError: a class has too few images, or a group stands in two given splits.
    """

    def __init__(
        self,
        labels: ArrayLike,
        groups: GroupNames | None,
        classes: Sequence[str] | None,
        given: GivenSplits | None,
    ) -> None:
        label_of = np.asarray(labels, dtype=np.int64)
        if classes is None:
            values, label_of = np.unique(label_of, return_inverse=True)
            classes = [str(value) for value in values]
        if groups is not None and len(groups) != len(label_of):
            raise ValueError(f"{len(groups)} groups for {len(label_of)} images")
        self.total, self.classes = len(label_of), list(classes)
        split_of, numbers = held_out(given, self.total)
        self.given = {name: np.flatnonzero(split_of == number) for name, number in numbers.items()}
        self.to_draw = [*(name for name in HELD_OUT if name not in self.given), "train"]
        free = split_of == 0
        if self.given and groups is not None and given is not None:
            taken = _held_out_groups(groups, given)
            free &= [group is None or group not in taken for group in groups]
        self.positions = np.flatnonzero(free)
        self.labels = label_of[free]
        names = None if groups is None else [groups[i] for i in self.positions.tolist()]
        self.groups = Groups(self.labels, names, len(self.classes))
        self._check(label_of)

    def _check(self, label_of: Indices) -> None:
        """Check that each class has an image in each given split and a group for each other."""
        per_class = np.bincount(label_of, minlength=len(self.classes))
        present = {key: set(label_of[part].tolist()) for key, part in self.given.items()}
        lacks: dict[str, str] = {}
        least = 0
        drawn = ""  # advice that helps some of the classes
        for label, name in enumerate(self.classes):
            have = int(self.groups.per_class[label])
            absent = [key for key, labels in present.items() if label not in labels]
            if have >= len(self.to_draw) and not absent:
                continue
            least = max(least, int(per_class[label]) + 1)
            counted_groups = counted(have, "image")
            if self.groups.largest > 1:
                counted_groups = f"{counted(have, 'group')} of images"
            lacks[name] = counted_groups
            if absent and per_class[label]:
                lacks[name] = f"no image in the given {absent[0]} split"
            elif self.given and per_class[label]:
                lacks[name] += (
                    f" outside the given {_split_names(self.given)}, too few for the "
                    f"{_split_names(reversed(self.to_draw))}"
                )
            if self.given and per_class[label]:
                drawn = "`data.splits: drawn` draws all three splits anew, "
        if not lacks:
            return
        need = "" if drawn else "the train, validation and test splits need one each: "
        leaves_two = (per_class >= least).sum() > 1
        small = "leave the class out " if len(lacks) == 1 else "leave classes out "
        if leaves_two:
            small = f"`data.min_per_class: {least}` leaves out classes of fewer images, "
        raise UserError(
            f"{_each_class(lacks)}; {need}{drawn}{small}or add images",
            key="data.splits" if drawn else "data.min_per_class",
        )


def held_out(given: GivenSplits | None, total: int) -> tuple[Indices, dict[str, int]]:
    """Number the given test and validation splits.

    Returns:
        (N,) the number of each image's given test or validation split, 0 for other images; and
        the number of each of these splits that has an image.

    Raises:
        ValueError: an unknown split, or not `total` splits.
    """
    numbers: dict[str | None, int] = {None: 0, "train": 0, "test": 1, "validation": 2}
    parts = [None] * total if given is None else given
    if len(parts) != total or not set(parts) <= set(numbers):
        raise ValueError(f"{len(parts)} given splits for {total} images: {set(parts)}")
    split_of = np.array([numbers[part] for part in parts], dtype=np.int64)
    return split_of, {key: numbers[key] for key in HELD_OUT if (split_of == numbers[key]).any()}


def _each_class(lacks: dict[str, str]) -> str:
    """Name classes with their faults, those of one fault together."""
    of_fault: dict[str, list[str]] = {}
    for name, fault in lacks.items():
        of_fault.setdefault(fault, []).append(repr(name))
    parts = []
    for fault, names in of_fault.items():
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        each = " each" * fault[0].isdigit()
        parts.append(
            f"class {names[0]} has {fault}"
            if len(names) == 1
            else f"the classes {', '.join(names[:NAMED])}{more} have {fault}{each}"
        )
    return " and ".join(parts)


def _split_names(keys: Iterable[str]) -> str:
    names = list(keys)
    return f"{' and '.join(names)} split{'s' * (len(names) > 1)}"


def _held_out_groups(groups: GroupNames, given: GivenSplits) -> set[Hashable]:
    """Find the groups that stand in a given test or validation split."""
    split_of: dict[Hashable, str] = {}
    for group, part in zip(groups, given, strict=True):
        if group is None or part is None:
            continue
        other = split_of.setdefault(group, part)
        if other != part:
            raise UserError(
                f"group {group!r} stands in the given {other} and {part} splits; "
                "`data.splits: drawn` draws the splits anew, each group whole",
                key="data.splits",
            )
    return {group for group, part in split_of.items() if part in HELD_OUT}
