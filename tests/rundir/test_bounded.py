"""Small files of a run directory that would fill the memory are damaged files."""

from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from revo_ray.rundir import bounded
from revo_ray.rundir.bounded import read_arrays, read_table
from revo_ray.storage import Storage

MOST_BYTES = 2**26


@pytest.fixture(autouse=True)
def less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_BYTES", MOST_BYTES)


def parquet(rows: int, letters: int) -> bytes:
    """A table with the same name in each row, which stands once in the file."""
    indices = pa.array(np.zeros(rows, np.int32))
    names = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * letters]))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"name": names.cast(pa.string())}), buffer, compression="zstd")
    return buffer.getvalue()


def test_a_table_is_what_was_written() -> None:
    table = pa.table({"a": [1, 2], "b": [["x"], None]}, metadata={"classes": "[]"})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    read = read_table(buffer.getvalue())
    assert read.equals(table)
    assert read.schema.metadata[b"classes"] == b"[]"


def test_a_table_that_is_large_in_memory_is_refused() -> None:
    content = parquet(rows=MOST_BYTES // 1000 + 70_000, letters=1000)
    assert len(content) < 10**6
    with pytest.raises(ValueError, match="too large"):
        read_table(content)
    with pytest.raises(ValueError, match="damaged"):
        read_table(content[:-9])


def test_arrays_that_are_large_in_memory_are_refused() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, logits=np.zeros((MOST_BYTES // 4, 1), np.float32))
    assert len(buffer.getvalue()) < 10**6
    tracemalloc.start()
    with pytest.raises(ValueError, match="too large"):
        read_arrays(buffer.getvalue())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**7


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    storage = Storage(str(tmp_path))
    for read in (storage.read, storage.open, lambda path: storage.read_head(path, 1)):
        with pytest.raises(OSError, match="no regular file"):
            read("pipe")
