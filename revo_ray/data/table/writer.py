"""Write a table: stream squares to the disk in source order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from revo_ray.data.files.intensity import Range
from revo_ray.data.image_records import Problem, Record, Source
from revo_ray.data.table.disk import replacing
from revo_ray.settings.schema import DataConfig

BATCH_BYTES = 2**24
"""Bytes of pixels in one record batch, which is held in memory and then written."""


def write_table(
    path: Path,
    source: Source,
    records: Sequence[Record],
    squares: Iterable[NDArray[np.uint8]],
    problems: Sequence[Problem],
    config: DataConfig,
    limits: Range | None = None,
) -> None:
    """Write squares to an Arrow IPC file, which appears whole or not at all.

    Memory holds one batch. The skipped images are the metadata of a last batch without rows.

    Args:
        path: path of the table.
        source: source of the records.
        records: records to write.
        squares: (3, S, S) pixels of each.
        problems: images that were left out, because they cannot be used.
        config: configuration of the images.
        limits: intensities that became black and white; None if no image has any.

    Raises:
        OSError: the disk is full or read-only.
    """
    position = {name: i for i, name in enumerate(source.classes)}
    width, schema = 3 * config.image_size**2, _schema(source, config, limits)
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        for some, pixels in _batches(zip(records, squares, strict=True), width):
            writer.write_batch(_batch(schema, position, some, pixels))
        end = {"skipped": json.dumps(problems)}
        nothing = _batch(schema, position, [], np.empty((0, width), np.uint8))
        writer.write_batch(nothing, custom_metadata=end)


def _batches(
    squares: Iterable[tuple[Record, NDArray[np.uint8]]], width: int
) -> Iterator[tuple[list[Record], NDArray[np.uint8]]]:
    """Yield records with pixels (n, 3·S·S), overwritten by the next batch."""
    pixels = np.empty((max(1, BATCH_BYTES // width), width), np.uint8)
    some: list[Record] = []
    for record, square in squares:
        pixels[len(some)] = square.reshape(-1)
        some.append(record)
        if len(some) == len(pixels):
            yield some, pixels
            some = []
    if some:
        yield some, pixels[: len(some)]


def _schema(source: Source, config: DataConfig, limits: Range | None) -> pa.Schema:
    return pa.schema(
        {
            "image": pa.binary(3 * config.image_size**2),
            "label": pa.int32(),
            "name": pa.string(),
            "group": pa.string(),
            "split": pa.string(),
        },
        metadata={
            "classes": json.dumps(source.classes),
            "image_size": str(config.image_size),
            "source": config.source,
            **({"intensity": json.dumps(limits)} if limits else {}),
        },
    )


def _batch(
    schema: pa.Schema,
    position: Mapping[str, int],
    records: Sequence[Record],
    pixels: NDArray[np.uint8],
) -> pa.RecordBatch:
    image = pa.FixedSizeBinaryArray.from_buffers(
        schema.field("image").type, len(records), [None, pa.py_buffer(pixels)]
    )
    labels = pa.array([position[record.label] for record in records], pa.int32())
    texts = (
        pa.array([getattr(record, name) for record in records], pa.string())
        for name in ("name", "group", "split")
    )
    return pa.record_batch([image, labels, *texts], schema=schema)
