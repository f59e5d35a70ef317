"""Images whose bytes stand in a column of parquet files: read in row order, with bounded memory."""

from __future__ import annotations

import bisect
import hashlib
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from revo_ray.data.files import formats
from revo_ray.data.files.image_files import File
from revo_ray.data.table.threads import usable_cores

ROWS = 8
"""Rows that are read at once."""


@dataclass(frozen=True)
class Shard:
    """A parquet file.

    Attributes:
        file: the file.
        schema: its Arrow schema.
        starts: first row of each row group, and the number of all rows.
    """

    file: File
    schema: pa.Schema
    starts: tuple[int, ...]

    @classmethod
    def of(cls, file: File) -> Shard:
        """Read the footer of a file.

        Raises:
            OSError, pa.ArrowException: the file cannot be read, or is no parquet file.
        """
        with open_parquet(file) as parquet:
            starts = [0]
            for group in range(parquet.num_row_groups):
                starts.append(starts[-1] + parquet.metadata.row_group(group).num_rows)
            return cls(file, parquet.schema_arrow, tuple(starts))

    @cached_property
    def stamp(self) -> str:
        """Text that changes whenever the content may have changed."""
        return self.file.stamp or self.file.digest()


def open_parquet(file: File) -> pq.ParquetFile:
    """Open a parquet file, to be read page by page."""
    source = file.random_access()
    return pq.ParquetFile(source, pre_buffer=False, buffer_size=2**20)


class EmbeddedColumn:
    """Bytes of a column in several files.

    Threads share one reader a file, which goes on where it is and keeps the last rows. So each row
    group is read once if the rows are asked for in about their order, however large the group is.

    Args:
        shards: the files.
        column: dotted name of the column with the bytes.
    """

    def __init__(self, shards: Sequence[Shard], column: str) -> None:
        self.shards = shards
        self._column = column
        self._lock = threading.Lock()
        self._readers: OrderedDict[int, _Reader] = OrderedDict()

    def read(self, shard: int, row: int) -> bytes:
        """Return the bytes in a row of a file.

        Raises:
            OSError: they cannot be read.
        """
        with self._lock:
            reader = self._readers.pop(shard, None) or _Reader(self.shards[shard], self._column)
            try:
                content = reader.read(row)
            except pa.ArrowException as error:
                raise OSError(f"damaged in its parquet file ({error})") from None
            self._readers[shard] = reader
            if len(self._readers) > 2:  # threads are in the end of a file and the begin of the next
                self._readers.popitem(last=False)
        return content


class _Reader:
    """Reads the rows of a file forwards, and keeps the last ones."""

    def __init__(self, shard: Shard, column: str) -> None:
        self._shard, self._column = shard, column
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._next = shard.starts[-1]  # the first row that is not read yet
        self._kept: deque[tuple[int, pa.Array]] = deque()
        self._ahead = 3 * (usable_cores() + 1) + ROWS  # `in_order` runs so far ahead

    def read(self, row: int) -> bytes:
        for start, values in self._kept:
            if start <= row < start + len(values):
                return _content(values, row - start)
        starts = self._shard.starts
        group = bisect.bisect_right(starts, row) - 1
        if row < self._next or starts[group] > self._next + self._ahead:
            groups = list(range(group, len(starts) - 1))
            parquet = open_parquet(self._shard.file)
            self._batches = parquet.iter_batches(ROWS, groups, [self._column], use_threads=False)
            self._next = starts[group]
            self._kept.clear()
        while True:
            batch = next(self._batches, None)
            if batch is None:
                self._next = starts[-1]
                raise OSError("not in its parquet file any more")
            values, start = batch_bytes(batch), self._next
            self._next += len(values)
            self._kept.append((start, values))
            while len(self._kept) > 1 and self._kept[1][0] + self._ahead < self._next:
                self._kept.popleft()
            if row < self._next:
                return _content(values, row - start)


def batch_bytes(batch: pa.RecordBatch) -> pa.Array:
    """Bytes in the one column of a batch, which may hold structs with them."""
    values = batch.column(0)
    return values.field("bytes") if pa.types.is_struct(values.type) else values


def _content(values: pa.Array, place: int) -> bytes:
    content: bytes | None = values[place].as_py()
    return content or b""


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image in a row of a parquet file; an `image_records.Picture`.

    Attributes:
        column: column of the image.
        shard: number of the file.
        row: number of the row in the file.
    """

    column: EmbeddedColumn = field(repr=False)
    shard: int
    row: int
    _bytes: bytes | None = field(default=None, repr=False)

    @property
    def stamp(self) -> str:
        """Text that changes whenever the file may have changed."""
        return f"{self.column.shards[self.shard].stamp}:{self.row}"

    def digest(self) -> str:
        """SHA-256 of the image's bytes."""
        return hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        """All bytes of the image."""
        if self._bytes is not None:
            return self._bytes
        return self.column.read(self.shard, self.row)

    def load(self) -> EmbeddedImage:
        """The same image in memory: its `digest` and `open` read nothing more."""
        return replace(self, _bytes=self.read())

    def open(self) -> Image.Image:
        """Open the image.

        Raises:
            Exception: as `read` and `formats.open_image`.
        """
        return formats.open_image(self.read())
