"""The 1,797 handwritten digits of scikit-learn, 8×8 pixels, which come with that package."""

from __future__ import annotations

import numpy as np

from revo_ray.data.files.image_files import ImageFiles, without_password
from revo_ray.data.image_records import ArrayPicture, Finding, Record, Source, Topic
from revo_ray.settings.schema import DataConfig


def read(config: DataConfig) -> Source:
    """Read the digits. `data.root` is not read, but it must exist if it is set.

    Raises:
        UserError: nothing lies at `data.root`.
    """
    from sklearn.datasets import load_digits

    warnings: list[Finding] = []
    if config.root is not None:
        ImageFiles.open(config.root)
        root = without_password(repr(config.root))
        warnings.append(
            Finding(Topic.OTHER, f"the source digits needs no files: {root} is not read")
        )
    digits = load_digits()
    # The grey levels are 0 … 16.
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    records = tuple(
        Record(name=f"digit-{i:04d}", label=str(label), picture=ArrayPicture(image))
        for i, (image, label) in enumerate(zip(images, digits.target.tolist(), strict=True))
    )
    return Source(tuple("0123456789"), records, warnings=tuple(warnings))
