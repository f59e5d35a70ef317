"""Data sets in one record form, whatever they are read from."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from revo_ray.config import DataConfig
from revo_ray.errors import UserError


@dataclass(frozen=True)
class Record:
    """One image that has not been decoded yet.

    Attributes:
        name: what the image is called in error messages, unique in its source.
        label: the name of its class.
        load: decodes the image, in any mode and size; may raise whatever the decoder raises.
        group: what must not stand in two splits, such as a patient; None for an image alone.
        split: the split that the data set's authors put it in, if they did.
    """

    name: str
    label: str
    load: Callable[[], Image.Image]
    group: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set: its classes, its records in a fixed order, and a hash of its content.

    Attributes:
        classes: the names of the classes; a class's position is its label.
        records: one per image.
        fingerprint: changes whenever an image, a label or a group changes.
    """

    classes: tuple[str, ...]
    records: tuple[Record, ...]
    fingerprint: str


def read_source(config: DataConfig) -> Source:
    """Read the records of the configured source; no image is decoded yet.

    Raises:
        UserError: the source is unknown, or `data.root` is given and is no folder.
    """
    if config.source not in READERS:
        close = difflib.get_close_matches(config.source, READERS, n=1, cutoff=0)
        raise UserError(
            f"no source {config.source!r}; did you mean {close[0]}? "
            f"(there are {', '.join(READERS)})",
            key="data.source",
        )
    if config.root is not None and not Path(config.root).is_dir():
        raise UserError(f"no such folder {config.root!r}", key="data.root")
    return READERS[config.source](config)


def _read_digits(config: DataConfig) -> Source:
    """scikit-learn's 1,797 handwritten digits, 8×8 pixels; needs no `data.root` and ignores it."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    # 0 … 16 to the nearest of 0 … 255.
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int32)
    records = tuple(
        Record(name=f"digit-{i:04d}", label=str(label), load=partial(Image.fromarray, image))
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    )
    content = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return Source(tuple(str(digit) for digit in range(10)), records, content)


READERS: Mapping[str, Callable[[DataConfig], Source]] = MappingProxyType(
    {
        "digits": _read_digits,
    }
)
"""What reads each value of `data.source`; a reader that needs files gets them from `data.root`."""
