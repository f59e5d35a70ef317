"""A glance at the configured images: their numbers, their size and the time that reading takes."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from revo_ray.data.files.decode import facts_and_square
from revo_ray.data.image_records import Record
from revo_ray.data.sources import read_source
from revo_ray.data.splits.split import split_records
from revo_ray.data.splits.subset import limit_records
from revo_ray.data.table.threads import usable_cores
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

SAMPLE = 24
"""Images that are opened to learn their sizes."""
READ_S = 0.5
"""Seconds after which no further image is decoded."""


@dataclass(frozen=True)
class Glance:
    """Facts about images that were listed, of which a few were read.

    Attributes:
        classes: number of classes.
        train, validation, test: number of images of each split.
        imbalance: training images of the largest class, as a multiple of the smallest's.
        side: pixels of the shorter side of the median image; None if none could be opened.
        seconds: time to read and decode an image, by all cores together.
    """

    classes: int
    train: int
    validation: int
    test: int
    imbalance: float
    side: int | None
    seconds: float


def glance(config: DataConfig) -> Glance:
    """List the images, split them, and read a few. Images that cannot be read are passed over.

    Raises:
        UserError: the source cannot be read or is empty, or a class has too few images.
    """
    source = read_source(config)
    records = limit_records(source.records, config)
    if not records:
        key = "data.source" if config.root is None else "data.root"
        raise UserError(f"the source {config.source!r} has no images", key=key)
    splits = split_records(records, source.classes, config)
    trained = Counter(records[row].label for row in splits.train).values()
    places = np.unique(np.linspace(0, len(records) - 1, SAMPLE).astype(int))
    sample = [records[place] for place in places]
    return Glance(
        len(source.classes),
        *(len(splits.train), len(splits.validation), len(splits.test)),
        max(trained) / min(trained),
        _short_side(sample),
        _seconds(sample, config),
    )


def _short_side(sample: Sequence[Record]) -> int | None:
    sides = []
    for record in sample:
        with suppress(Exception):  # told when all images are read
            sides.append(min(record.picture.open().size))
    return round(statistics.median(sides)) if sides else None


def _seconds(sample: Sequence[Record], config: DataConfig) -> float:
    """Mean time of an image, of as many as `READ_S` allows; 0 if none can be decoded.

    They are decoded one by one here, and by all cores when the table is made.
    """
    began, read = time.perf_counter(), 0
    for record in sample:
        with suppress(Exception):
            facts_and_square(record.picture.open, config.image_size, config.fit, config.max_pixels)
            read += 1
        if time.perf_counter() - began > READ_S:
            break
    return (time.perf_counter() - began) / read / usable_cores() if read else 0.0
