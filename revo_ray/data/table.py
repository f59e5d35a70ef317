"""The decoded, resized images: one Arrow file, written once, memory-mapped by every evaluation."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageOps

from revo_ray.config import DataConfig
from revo_ray.data.sources import Record, Source, read_source
from revo_ray.data.splits import stratified_subset
from revo_ray.errors import UserError

FORMAT = 1
"""Part of every table's name: raise it when the same source would give other bytes."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table on disk; opening it reads no pixel.

    Attributes:
        path: the Arrow IPC file.
        images: (N, 3, S, S) uint8 RGB, a read-only view of the mapped file.
        labels: (N,) int64, positions in `classes`.
        names: (N,) the records' names.
        groups: (N,) the records' groups; None if no record has one.
        classes: (C,) the names of the classes.
    """

    path: Path
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    groups: tuple[str | None, ...] | None
    classes: tuple[str, ...]

    @classmethod
    def open(cls, path: Path | str) -> Table:
        """Map a table that `prepare_table` wrote.

        Raises:
            UserError: the file is missing, torn or no such table.
        """
        path = Path(path)
        try:
            with pa.memory_map(str(path)) as file:
                table = pa.ipc.open_file(file).read_all()
            return cls._of(path, table)
        except FileNotFoundError:
            raise UserError(
                f"no image table {str(path)!r} on this machine; the machines of a cluster must "
                "share the disk that holds storage"
            ) from None
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"cannot read the image table {str(path)!r}: {reason}; delete it to build it again"
            ) from None

    @classmethod
    def _of(cls, path: Path, table: pa.Table) -> Table:
        metadata = table.schema.metadata or {}
        size = int(metadata[b"image_size"])
        groups = table["group"]
        pixels = np.empty((0, 3, size, size), np.uint8)
        if table.num_rows:
            (chunk,) = table["image"].chunks  # one record batch, so one array
            buffer = chunk.buffers()[1]
            pixels = np.frombuffer(buffer, np.uint8).reshape(-1, 3, size, size)
        return cls(
            path=path,
            images=pixels[: table.num_rows],
            labels=table["label"].to_numpy().astype(np.int64),
            names=tuple(table["name"].to_pylist()),
            groups=None if groups.null_count == len(groups) else tuple(groups.to_pylist()),
            classes=tuple(json.loads(metadata[b"classes"])),
        )

    @cached_property
    def sha256(self) -> str:
        """The file's SHA-256 in hexadecimal; the first use reads the whole file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def prepare_table(config: DataConfig, folder: Path | str) -> Table:
    """Open the data set's table in `folder`, after writing it if it is not there or torn.

    Each image is made RGB, cut to its centre square and resized to `image_size` with Pillow's
    antialiased bicubic filter, which equals resizing the shorter side and cutting the centre out.
    The file's name is a hash of the source's content and of these settings, so another data set
    or size never meets an old table. `max_images` is applied here, before anything is decoded.
    Processes that prepare the same table at once write the same bytes; the last one stays.

    Raises:
        UserError: the source cannot be read or is empty, `max_images` is smaller than the number
            of classes, or images cannot be decoded (all of them are named).
    """
    source = read_source(config)
    records = _chosen(source.records, config)
    subset = None if len(records) == len(source.records) else [len(records), config.seed]
    settings = [FORMAT, config.source, source.fingerprint, config.image_size, subset]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:24]
    path = Path(folder) / f"{key}.arrow"
    if path.exists():
        try:
            return Table.open(path)
        except UserError:
            pass  # torn, by a full disk or a broken copy: write it again
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, source, records, config)
    except OSError as error:
        raise UserError(f"cannot write the image table {str(path)!r}: {error}") from error
    return Table.open(path)


def _chosen(records: Sequence[Record], config: DataConfig) -> Sequence[Record]:
    """All records, or the stratified subset of `max_images`."""
    if not records:
        raise UserError(f"the source {config.source!r} has no images", key="data.source")
    if config.max_images is None or config.max_images >= len(records):
        return records
    labels = [record.label for record in records]
    classes = len(set(labels))
    if config.max_images < classes:
        raise UserError(
            f"{config.max_images} images cannot hold one of each of the {classes} classes",
            key="data.max_images",
        )
    return [records[i] for i in stratified_subset(labels, config.max_images, config.seed)]


def _write(path: Path, source: Source, records: Sequence[Record], config: DataConfig) -> None:
    """Decode into an unnamed file, so that a large data set needs no memory, then write Arrow."""
    width = 3 * config.image_size**2
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}.tmp")
    try:
        with tempfile.TemporaryFile(dir=path.parent) as scratch:
            pixels = np.memmap(scratch, np.uint8, mode="w+", shape=(len(records), width))
            _decode(records, pixels, config.image_size)
            batch = _batch(source, records, pixels, config)
            with (
                pa.OSFile(str(temporary), "wb") as file,
                pa.ipc.new_file(file, batch.schema) as writer,
            ):
                writer.write_batch(batch)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _batch(
    source: Source, records: Sequence[Record], pixels: NDArray[np.uint8], config: DataConfig
) -> pa.RecordBatch:
    position = {name: i for i, name in enumerate(source.classes)}
    image = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(pixels.shape[1]), len(records), [None, pa.py_buffer(pixels)]
    )
    columns = {
        "image": image,
        "label": pa.array([position[record.label] for record in records], pa.int32()),
        "name": pa.array([record.name for record in records], pa.string()),
        "group": pa.array([record.group for record in records], pa.string()),
        "split": pa.array([record.split for record in records], pa.string()),
    }
    metadata = {
        "classes": json.dumps(source.classes),
        "image_size": str(config.image_size),
        "source": config.source,
    }
    return pa.record_batch(columns).replace_schema_metadata(metadata)


def _decode(records: Sequence[Record], pixels: NDArray[np.uint8], size: int) -> None:
    """Fill `pixels` (N, 3·S·S); Pillow decodes and resizes without the interpreter lock."""

    def decode(i: int) -> str | None:
        try:
            image = records[i].load().convert("RGB")
            square = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
        except Exception as error:  # whatever a decoder raises: the file is named with it
            return f"{records[i].name} ({type(error).__name__}: {error})"
        pixels[i] = np.asarray(square).transpose(2, 0, 1).reshape(-1)
        return None

    with ThreadPoolExecutor() as pool:
        bad = [problem for problem in pool.map(decode, range(len(records))) if problem]
    if bad:
        raise UserError(f"{len(bad)} images cannot be decoded: {'; '.join(bad)}", key="data.root")
