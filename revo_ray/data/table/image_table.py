"""The decoded, resized images: one Arrow file, written once, memory-mapped by every evaluation."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from revo_ray.data.records import Problem, Record, Source
from revo_ray.data.sources import read_source
from revo_ray.data.splits.split import Splits, split
from revo_ray.data.table.disk import exclusive, sweep
from revo_ray.data.table.fingerprint import choose, index_path, table_path
from revo_ray.data.table.images import Images
from revo_ray.data.table.writer import ChangedError, Progress, check_classes, write_table
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig


@dataclass(frozen=True, eq=False)
class Table:
    """A table on disk; opening it reads no pixel.

    Attributes:
        path: the Arrow IPC file.
        images: (N, 3, S, S) uint8 RGB, over the mapped file.
        labels: (N,) int64, positions in `classes`.
        classes: (C,) the names of the classes.
        details: the columns name, group and split, (N,) text each.
        skipped: images that were left out, and why.
        warnings: what a user should know of the source; `prepare_table` alone knows.
    """

    path: Path
    images: Images
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    details: pa.Table
    skipped: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: Path | str) -> Table:
        """Map a table that `prepare_table` wrote.

        Raises:
            UserError: the file is missing, torn or no such table.
        """
        path = Path(path)
        try:
            with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
                _, end = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
                return cls._of(path, reader.read_all(), end)
        except FileNotFoundError:
            raise UserError(f"no image table {str(path)!r} on this machine") from None
        except (OSError, pa.ArrowException, LookupError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"cannot read the image table {str(path)!r}: {reason}; delete it to build it again"
            ) from None

    @classmethod
    def _of(cls, path: Path, table: pa.Table, end: Any) -> Table:
        metadata = table.schema.metadata or {}
        side = int(metadata[b"image_size"])
        images, labels = table["image"], table["label"]
        if (images.type, labels.type) != (pa.binary(3 * side**2), pa.int32()):
            raise ValueError(f"its columns are not images of {side} × {side} pixels and labels")
        return cls(
            path=path,
            images=Images([_view(c, np.uint8, 3, side, side) for c in images.chunks], side),
            labels=np.concatenate([_view(c, np.int32) for c in labels.chunks], dtype=np.int64),
            classes=tuple(json.loads(metadata[b"classes"])),
            details=table.select(["name", "group", "split"]),
            skipped=tuple(Problem(*problem) for problem in json.loads(end[b"skipped"])),
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """(N,) what each image is called."""
        return tuple(self.details["name"].to_pylist())

    @cached_property
    def groups(self) -> tuple[str | None, ...] | None:
        """(N,) what must not stand in two splits; None if no image has a group."""
        return self._detail("group")

    @cached_property
    def given(self) -> tuple[str | None, ...] | None:
        """(N,) the split that the data set names; None if it names none."""
        return self._detail("split")

    @cached_property
    def sha256(self) -> str:
        """The file's SHA-256 in hexadecimal; the first use reads the whole file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _detail(self, name: str) -> tuple[str | None, ...] | None:
        column = self.details[name]
        return None if column.null_count == len(column) else tuple(column.to_pylist())


def _view(chunk: pa.Array, dtype: type[np.generic], *shape: int) -> NDArray[Any]:
    """(n, *shape), a view of the mapped file; pyarrow's own would import pandas first."""
    dimensions = (len(chunk), *shape)
    if not len(chunk):
        return np.empty(dimensions, dtype)
    count = math.prod(dimensions)
    start = chunk.offset * math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer(chunk.buffers()[1], dtype, count, start).reshape(dimensions)


def prepare_table(
    config: DataConfig,
    folder: Path | str,
    progress: Progress | None = None,
    *,
    must_split: bool = False,
) -> Table:
    """Open the data set's table in `folder`, after writing it if it is not there or torn.

    Images are decoded and cut as `decode.square` says. The file's name is a hash of their
    contents, labels and groups and of what else decides its bytes, so another data set or size
    never meets an old table. `max_images` is applied before anything is decoded. Of processes that
    prepare the same table at once, one does and the others wait.

    Args:
        folder: also remembers the digests of the source's files.
        progress: called with the images done and all images, where a table must be written.
        must_split: refuse what `split` would refuse before an image is decoded.

    Raises:
        UserError: the source cannot be read or is empty, `max_images` is smaller than the number
            of classes, images cannot be used (all of them are named) and `on_bad_image` is stop, a
            class has no image left, or the folder cannot be written; with `must_split` as `split`.
    """
    source = read_source(config)
    if not source.records and not source.problems:
        key = "data.source" if config.root is None else "data.root"
        raise UserError(f"the source {config.source!r} has no images", key=key)
    if not (source.problems and config.on_bad_image == "stop"):
        # Else the error that names all images, those to be found yet too, comes first.
        check_classes(source.classes, (r.label for r in source.records), source.problems)
    records = choose(source.records, config)
    if must_split:
        _try_split(source, records, config)
    folder = Path(folder)
    path, contents = table_path(config, source, records, folder)
    try:
        table = _opened(path)
        if table is None:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            with exclusive(path.with_suffix(".lock")):
                if (table := _opened(path)) is None:
                    write_table(path, source, records, contents, config, progress)
                    table = Table.open(path)
    except ChangedError:
        index_path(config, folder).unlink(missing_ok=True)
        raise
    except OSError as error:
        raise UserError(f"cannot write the image table {str(path)!r}: {error}") from error
    return replace(table, warnings=source.warnings)


def split_table(table: Table, data: DataConfig) -> Splits:
    """Which rows of the table train, validate and test.

    Raises:
        UserError: a class has too few images.
    """
    return split(table.labels, data, groups=table.groups, classes=table.classes, given=table.given)


def _try_split(source: Source, records: Sequence[Record], config: DataConfig) -> None:
    position = {name: i for i, name in enumerate(source.classes)}
    groups = [record.group for record in records]
    split(
        [position[record.label] for record in records],
        config,
        groups=groups if any(groups) else None,
        classes=source.classes,
        given=[record.split for record in records],
    )


def _opened(path: Path) -> Table | None:
    """A table that is there and whole."""
    try:
        return Table.open(path) if path.exists() else None
    except UserError:
        return None  # torn, by a full disk or a broken copy: write it again
