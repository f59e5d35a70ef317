"""Reads tables and arrays that anyone may have written: small files that unpack to gigabytes."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

MOST_BYTES = 2**30
"""Largest size in memory."""


def read_table(content: bytes) -> pa.Table:
    """Read a parquet file.

    Raises:
        ValueError: it is none, or too large in memory.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        groups = range(file.metadata.num_row_groups)
        stored = sum(file.metadata.row_group(group).total_byte_size for group in groups)
        # A value may stand once in the file and in all rows. So many rows take the bound at most.
        rows = min(max(MOST_BYTES // max(stored, 1), 1), 2**16)
        batches, size = [], 0
        for batch in file.iter_batches(batch_size=rows):
            size += batch.nbytes
            if size > MOST_BYTES:
                raise ValueError("a table that is too large")
            batches.append(batch)
        return pa.Table.from_batches(batches, file.schema_arrow)
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise ValueError("a damaged table") from error


def read_arrays(content: bytes) -> Mapping[str, NDArray[Any]]:
    """Read the arrays of an `.npz` file; it can hold no code.

    Raises:
        ValueError: it is none, or too large in memory.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                raise ValueError("arrays that are too large")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError("no arrays") from error
    except MemoryError:
        raise ValueError("arrays that are too large") from None
