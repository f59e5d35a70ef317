"""Names of classes and splits, as data sets spell them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from revo_ray.data.files.image_files import root_error
from revo_ray.data.image_records import GivenSplit

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
