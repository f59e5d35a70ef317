"""Leaves: diseases of citrus leaves, `Citrus/Leaves/{Black spot,canker,greening,healthy}/*.png`."""

from __future__ import annotations

from revo_ray.data.image_records import Source
from revo_ray.data.sources.published import read_published
from revo_ray.settings.schema import DataConfig

CLASSES = ("Black spot", "canker", "greening", "healthy")


def read(config: DataConfig) -> Source:
    """Read the leaves, and not the fruits, whose folders have the same names.

    Raises:
        UserError: `data.root` does not hold the data set.
    """
    return read_published(config, CLASSES, "Citrus/Leaves", lambda path: not _is_fruit(path))


def _is_fruit(path: str) -> bool:
    return "fruits" in path.casefold().split("/")[:-1]
