"""Keys that a search of images leaves open: they are chosen from the images and `--time`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from revo_ray.settings.images_argument import PRESET, images_settings

OPEN = (
    *("model.name", "model.weights", "data.image_size", "train.batch_size", "train.epochs"),
    *("train.augment", "train.class_weights", "search.evaluations"),
)
"""Keys that are chosen, unless the user sets them."""


def open_keys(
    source: str | Path | None, values: Mapping[str, Any], origins: Mapping[str, str]
) -> frozenset[str]:
    """Find the keys that a configuration leaves open; none unless it is `preset:own-images`.

    Args:
        source: a file, `preset:NAME`, a path of images, or None for the quick start.
        values: the values of the configuration, with overrides.
        origins: the origin of each dotted key that the user wrote.
    """
    if source is None or (str(source) != PRESET and images_settings(str(source)) is None):
        return frozenset()
    return frozenset(key for key in OPEN if not _is_set(key, values, origins))


def _is_set(key: str, values: Mapping[str, Any], origins: Mapping[str, str]) -> bool:
    section, _, name = key.partition(".")
    inner = values.get(section)
    there = isinstance(inner, Mapping) and name in inner
    return there and (key in origins or section in origins)
