"""BUSI: breast ultrasound, `Dataset_BUSI_with_GT/{benign,malignant,normal}/benign (1).png`."""

from __future__ import annotations

from revo_ray.data.image_records import Source
from revo_ray.data.sources.published import read_published
from revo_ray.settings.schema import DataConfig

CLASSES = ("benign", "malignant", "normal")


def read(config: DataConfig) -> Source:
    """Read the images without their masks. The data set does not name its patients.

    Raises:
        UserError: `data.root` does not hold the data set.
    """
    return read_published(config, CLASSES, "Dataset_BUSI_with_GT", lambda path: not _is_mask(path))


def _is_mask(path: str) -> bool:
    return "_mask" in path.rpartition("/")[2].lower()
