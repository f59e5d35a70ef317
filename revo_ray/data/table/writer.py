"""Write a table: decode images on all cores and stream rows to the disk in source order."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from revo_ray.data.files.decode import explain, square
from revo_ray.data.files.intensity import IntensityRange, Range, settled_range, shown
from revo_ray.data.image_records import Problem, Record, Source
from revo_ray.data.table.bad_images import bad_images_error, check_classes
from revo_ray.data.table.disk import replacing
from revo_ray.data.table.threads import in_order
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

T = TypeVar("T")
R = TypeVar("R")

BATCH_BYTES = 2**24
"""Bytes of pixels in one record batch, which is held in memory and then written."""

Progress = Callable[[int, int], None]
"""Called with the number of images done, from 0 on, and the number of all images."""


class ChangedError(UserError):
    """A file has changed since it was hashed, or can no longer be read."""


def write_table(
    path: Path,
    source: Source,
    records: Sequence[Record],
    digests: Sequence[str | Problem],
    config: DataConfig,
    progress: Progress | None = None,
) -> None:
    """Decode records into an Arrow IPC file, which appears whole or not at all.

    Memory holds one batch and a few images per core. The skipped images are known only at the
    end: they are the metadata of a last batch without rows.

    Args:
        path: path of the table.
        source: source of the records.
        records: records to write.
        digests: hash of each record's content, or the problem that keeps it from being read.
        config: configuration of the images.
        progress: called with the number of images done and of all images.

    Raises:
        UserError: images cannot be used and `on_bad_image` is stop (the message names all of
            them), or a class has no image left.
        ChangedError: a file changed after it was hashed.
        OSError: the disk is full or read-only.
    """
    problems = list(source.problems)
    labels: set[str] = set()
    position = {name: i for i, name in enumerate(source.classes)}
    limits = find_limits(records, config)
    width, schema = 3 * config.image_size**2, _schema(source, config, limits)
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
        closing(_decoded(records, digests, config, limits, progress)) as decoded,
    ):
        for kept, pixels in _batches(zip(records, decoded, strict=True), width, problems):
            labels.update(record.label for record in kept)
            writer.write_batch(_batch(schema, position, kept, pixels))
        if problems and config.on_bad_image == "stop":
            raise bad_images_error(problems, named=True)
        check_classes(source.classes, labels, problems)
        end = {"skipped": json.dumps(problems)}
        nothing = _batch(schema, position, [], np.empty((0, width), np.uint8))
        writer.write_batch(nothing, custom_metadata=end)


def find_intensities(records: Sequence[Record], config: DataConfig) -> IntensityRange:
    """Count the pixels of all images of more than 8 bits, signed or float."""

    def look(record: Record) -> NDArray[np.generic] | None:
        with suppress(Exception):  # told when the image is decoded for the table
            image = record.picture.open()
            if image.mode.startswith(("I", "F")):
                return square(image, config.image_size, config.fit, config.max_pixels)
        return None

    found = IntensityRange()
    with closing(decode_all(look, records, None)) as looked_at:
        for pixels in looked_at:
            if pixels is not None and pixels.dtype == np.float32:
                found.add(pixels.astype(np.float32, copy=False))
    return found


def find_limits(records: Sequence[Record], config: DataConfig) -> Range | None:
    """The intensities that become black and white; None if no image has them."""
    found = find_intensities(records, config)
    return settled_range(config.intensity, found) if found.images else None


def decode_all(
    decode: Callable[[T], R], images: Sequence[T], progress: Progress | None
) -> Generator[R, None, None]:
    """Yield what `decode` returns for each image, in order, from all cores; report the progress."""
    report = progress or (lambda done, total: None)
    report(0, len(images))
    # Pillow warns of odd metadata.
    with warnings.catch_warnings(action="ignore"), closing(in_order(decode, images)) as results:
        for done, result in enumerate(results, start=1):
            yield result
            report(done, len(images))


def _decoded(
    records: Sequence[Record],
    digests: Sequence[str | Problem],
    config: DataConfig,
    limits: Range | None,
    progress: Progress | None,
) -> Generator[NDArray[np.uint8] | Problem, None, None]:
    """Yield the pixels (3, S, S) of each record, or its problem."""

    def decode(work: tuple[Record, str | Problem]) -> NDArray[np.uint8] | Problem:
        record, digest = work
        if isinstance(digest, Problem):
            return digest
        try:
            image = record.picture.open()
            pixels = square(image, config.image_size, config.fit, config.max_pixels)
            return shown(pixels, limits)
        except Exception as error:  # whatever a decoder raises
            _check_unchanged(record, digest)
            return Problem(record.name, explain(error))

    return decode_all(decode, list(zip(records, digests, strict=True)), progress)


def _check_unchanged(record: Record, digest: str) -> None:
    """Refuse to skip an image that only fails to be read now: the table would lack it forever."""
    try:
        now = record.picture.digest()
    except Exception as error:
        raise ChangedError(
            f"cannot read {record.name!r} any more: {explain(error)}", key="data.root"
        ) from None
    if now != digest:
        raise ChangedError(f"{record.name!r} has just changed; start again", key="data.root")


def _batches(
    decoded: Iterable[tuple[Record, NDArray[np.uint8] | Problem]],
    width: int,
    problems: list[Problem],
) -> Iterator[tuple[list[Record], NDArray[np.uint8]]]:
    """Yield records with pixels (n, 3·S·S), overwritten by the next batch; add to `problems`."""
    pixels = np.empty((max(1, BATCH_BYTES // width), width), np.uint8)
    kept: list[Record] = []
    for record, result in decoded:
        if isinstance(result, Problem):
            problems.append(result)
            continue
        pixels[len(kept)] = result.reshape(-1)
        kept.append(record)
        if len(kept) == len(pixels):
            yield kept, pixels
            kept = []
    if kept:
        yield kept, pixels[: len(kept)]


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
