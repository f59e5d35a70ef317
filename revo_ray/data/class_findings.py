"""Findings about the sizes of classes, once the splits are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.image_records import Finding, Topic
from revo_ray.data.splits.groups import Indices
from revo_ray.words import counted

HEAVY = 10
"""Ratio of the largest class to a smaller one from which a warning is due."""


def class_findings(
    classes: Sequence[str], labels: NDArray[np.int64], parts: Mapping[str, Indices]
) -> list[Finding]:
    """Warn if a class has a tenth of the largest class's images, or fewer.

    Args:
        classes: (C,) class names.
        labels: (N,) class of each image, 0 … C-1.
        parts: positions of the images in `train`, `validation` and `test`; without them there is
            no warning.
    """
    sizes = np.bincount(labels, minlength=len(classes))
    if not parts or not sizes.min() or sizes.max() < HEAVY * sizes.min():
        return []
    rarest, largest = int(sizes.argmin()), int(sizes.argmax())
    few = [
        counted(int(np.count_nonzero(labels[parts[name]] == rarest)), f"{name} image")
        for name in ("validation", "test")
    ]
    others = int((sizes * HEAVY <= sizes.max()).sum()) - 1
    also = f", and {others:,} more have a tenth or less" if others else ""
    text = (
        f"class {classes[rarest]!r} has {counted(int(sizes[rarest]), 'image')}, "
        f"{classes[largest]!r} has {sizes[largest]:,}{also}: it has {few[0]} and {few[1]}; "
        "train.class_weights: balanced trains on all classes alike, and search.objective: "
        "balanced_accuracy compares by them"
    )
    return [Finding(Topic.CLASSES, text, "train.class_weights")]
