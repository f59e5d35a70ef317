"""Names of classes and splits, as data sets spell them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal

from revo_ray.data.files.image_files import root_error
from revo_ray.data.image_records import GivenSplit
from revo_ray.errors import UserError

SPLIT_NAMES: Mapping[str, GivenSplit] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Split for each name that data sets use, in lower case."""


def named_splits(
    names: Iterable[str], splits: Literal["given", "drawn"] | Mapping[GivenSplit, str]
) -> dict[str, GivenSplit]:
    """Map names to the splits that `data.splits` gives them, or that they are the names of.

    Args:
        names: folders that lie beside each other, or values of one column.
        splits: `data.splits`.

    Raises:
        UserError: no name is the one that `data.splits` gives for a split.
    """
    names = list(names)
    if isinstance(splits, str):
        return {n: SPLIT_NAMES[n.casefold()] for n in names if n.casefold() in SPLIT_NAMES}
    found: dict[str, GivenSplit] = {}
    for split, wanted in splits.items():
        matches = [name for name in names if name.casefold() == wanted.strip().casefold()]
        if not matches:
            there = ", ".join(map(repr, names[:8])) + ", …" * (len(names) > 8)
            raise UserError(
                f"calls the {split} split {wanted!r}, and there is {there or 'none'}",
                key="data.splits",
            )
        found |= dict.fromkeys(matches, split)
    return found


def class_name(text: str) -> str:
    """Name of the class in a folder's name or a cell, in one Unicode form and without spaces."""
    return unicodedata.normalize("NFC", text.strip())


def ordered_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names, each once: as numbers if all are whole numbers, else as text.

    Raises:
        UserError: there is only one class.
    """
    classes = sorted(set(names))
    if len(classes) == 1:
        raise root_error(f"there is one class only, {classes[0]!r}; there must be two at least")
    if all(re.fullmatch("-?[0-9]{1,18}", name) for name in classes):
        classes.sort(key=int)
    return tuple(classes)
