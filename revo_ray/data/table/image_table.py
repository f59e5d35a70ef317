"""The table of decoded images: an Arrow file, written once and mapped by every evaluation."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from revo_ray.data.class_findings import class_findings
from revo_ray.data.files.intensity import shown
from revo_ray.data.image_records import Finding, Problem, Record, Source
from revo_ray.data.sources import read_source
from revo_ray.data.splits.split import Splits, split, split_records
from revo_ray.data.splits.subset import limit_records
from revo_ray.data.surveyed import Surveyed
from revo_ray.data.table.bad_images import bad_images_error, check_classes, left_out_finding
from revo_ray.data.table.disk import delete_leftovers, file_sha256
from revo_ray.data.table.fingerprint import table_path
from revo_ray.data.table.images import Images
from revo_ray.data.table.seal import seal, trusted
from revo_ray.data.table.survey import ChangedError, Survey
from revo_ray.data.table.threads import Progress
from revo_ray.data.table.writer import write_table
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig


@dataclass(frozen=True, eq=False)
class Table:
    """A table on disk; opening it reads no pixel.

    Attributes:
        path: path of the Arrow IPC file.
        images: (N, 3, S, S) uint8 RGB, over the mapped file.
        labels: (N,) int64 positions in `classes`.
        classes: (C,) class names.
        intensity: values that became black and white in images of more than 8 bits, signed or
            float; None if there are no such images.
        details: columns name, group and split, (N,) text each.
        skipped: images that were left out.
        warnings: warnings about the source; set by `prepare_table` only.
    """

    path: Path
    images: Images
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    details: pa.Table
    skipped: tuple[Problem, ...] = ()
    warnings: tuple[Finding, ...] = ()
    intensity: tuple[float, float] | None = None

    @classmethod
    def open(cls, path: Path | str) -> Table:
        """Map a table that `prepare_table` wrote.

        Raises:
            UserError: the file is missing, torn, or not an image table.
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
            intensity=_limits(metadata.get(b"intensity")),
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """(N,) name of each image."""
        return tuple(self.details["name"].to_pylist())

    @cached_property
    def groups(self) -> tuple[str | None, ...] | None:
        """(N,) group of each image, which stays in one split; None if no image has one."""
        return self._detail("group")

    @cached_property
    def given(self) -> tuple[str | None, ...] | None:
        """(N,) split that the data set gives each image; None if it gives none."""
        return self._detail("split")

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file in hexadecimal; the first use reads the whole file."""
        return file_sha256(self.path)

    def _detail(self, name: str) -> tuple[str | None, ...] | None:
        column = self.details[name]
        return None if column.null_count == len(column) else tuple(column.to_pylist())


def _limits(text: bytes | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, high = json.loads(text)
    return float(low), float(high)


def _view(chunk: pa.Array, dtype: type[np.generic], *shape: int) -> NDArray[Any]:
    """View (n, *shape) of the mapped file, without pandas, which pyarrow's own would import."""
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
    seeking: Progress | None = None,
    must_split: bool = False,
) -> Table:
    """Open the table of the configured images; write it first if it is missing or torn.

    `decode.square` decodes and cuts the images; `max_images` is applied before. The name of the
    file is a hash of all that its bytes depend on, so another data set or image size never finds
    an old table. If several processes prepare tables of the same source at once, one works and the
    others wait. A preparation that was ended goes on where it was, and reads no image that
    `inspect` has read.

    Args:
        config: configuration of the images.
        folder: folder of the table, and of what is remembered of the source's files.
        progress: called with the number of images done and of all images to look at, if a table
            is written.
        seeking: called while near-duplicates are sought, with the parts of the work done and all
            parts.
        must_split: try the splits before an image is decoded, and report near-duplicates across
            them and classes with few images.

    Raises:
        UserError: the source cannot be read or is empty, `max_images` is smaller than the number
            of classes, images cannot be used and `on_bad_image` is stop (the message names all
            of them), a class has no image left, or the folder cannot be written; with
            `must_split` as `split`.
    """
    source = read_source(config)
    if not source.records and not source.problems:
        key = "data.source" if config.root is None else "data.root"
        raise UserError(f"the source {config.source!r} has no images", key=key)
    if not (source.problems and config.on_bad_image == "stop"):
        # Otherwise the error about all bad images comes first, after all are decoded.
        check_classes(source.classes, (r.label for r in source.records), source.problems)
    records = limit_records(source.records, config)
    if must_split:
        split_records(records, source.classes, config)
    folder = Path(folder)
    with Survey.open(config, folder) as survey:
        try:
            return _prepare(config, folder, source, records, survey, progress, seeking, must_split)
        except ChangedError:
            survey.forget(records)
            raise
        except OSError as error:
            raise UserError(f"cannot write an image table in {str(folder)!r}: {error}") from error


def _prepare(
    config: DataConfig,
    folder: Path,
    source: Source,
    records: Sequence[Record],
    survey: Survey,
    progress: Progress | None,
    seeking: Progress | None,
    must_split: bool,
) -> Table:
    """Open or write a table, whose survey is open."""
    rows, path, table = survey.find(records), folder, None
    if rows.all():
        path = table_path(config, source, records, survey.digests(rows), folder)
        table = opened(path)
    skipped = list(source.problems)
    if table is None:
        folder.mkdir(parents=True, exist_ok=True)
        delete_leftovers(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass  # a folder that cannot be written is told before hours of work
        if not survey.usable(rows).all():
            problems = survey.look(records, rows, progress)
            skipped += [problems[i] for i in sorted(problems)]
            progress = None  # has told of all images
            path = table_path(config, source, records, survey.digests(rows, problems), folder)
            table = opened(path)
    if table is None and skipped and config.on_bad_image == "stop":
        raise bad_images_error(skipped, named=True)
    surveyed = Surveyed.of(survey, records, rows, config, seeking)
    kept = surveyed.treated.records
    findings = list(source.warnings)
    if table is None:
        check_classes(source.classes, (record.label for record in kept), skipped)
    if must_split:
        splits = split_records(kept, source.classes, config)
        labels = np.array([source.classes.index(record.label) for record in kept], np.int64)
        findings += surveyed.leaks(splits, config)
        findings += class_findings(source.classes, labels, vars(splits))
    if table is None:
        limits = surveyed.limits(survey, config)
        with closing(survey.squares(kept, surveyed.rows, progress)) as squares:
            pixels = (shown(square, limits) for square in squares)
            write_table(path, source, kept, pixels, skipped, config, limits)
        survey.drop_squares()
        seal(path)
        table = Table.open(path)
    findings += surveyed.findings(survey, config, table.intensity)
    if skipped:
        findings.append(left_out_finding(skipped))
    return replace(table, warnings=tuple(sorted(findings, key=lambda found: found.topic)))


def split_table(table: Table, data: DataConfig) -> Splits:
    """Choose the rows of the table that train, validate and test.

    Raises:
        UserError: a class has too few images.
    """
    return split(table.labels, data, groups=table.groups, classes=table.classes, given=table.given)


def opened(path: Path) -> Table | None:
    """Open a table; None if it is not there, not whole, or changed since it was written.

    The whole file is read; see `seal.trusted`.
    """
    try:
        return Table.open(path) if path.exists() and trusted(path) else None
    except (UserError, OSError):
        return None  # torn by a full disk or a broken copy: write it again
