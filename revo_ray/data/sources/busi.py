"""BUSI: breast ultrasound, `Dataset_BUSI_with_GT/{benign,malignant,normal}/benign (1).png`."""

from __future__ import annotations

from revo_ray.data.records import Source
from revo_ray.data.sources.published import read_known
from revo_ray.settings.schema import DataConfig

CLASSES = ("benign", "malignant", "normal")


def read(config: DataConfig) -> Source:
    """The images without their masks, as downloaded or unpacked; patients are not known.

    Raises:
        UserError: `data.root` does not hold the data set.
    """
    return read_known(config, CLASSES, "Dataset_BUSI_with_GT", lambda path: not _is_mask(path))


def _is_mask(path: str) -> bool:
    return "_mask" in path.rpartition("/")[2].lower()
