"""Decoded squares on the disk, from when a picture is looked at until its table is written."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Spool:
    """Two files of squares, one of RGB and one of intensities, each square at its row.

    A square that is missing or torn is decoded again, so nothing here has to be made safe; a
    reader checks what it gets.

    Args:
        path: path beside which the files lie.
        side: S.
    """

    def __init__(self, path: Path, side: int) -> None:
        self._kinds: dict[np.dtype[Any], tuple[Path, tuple[int, ...]]] = {
            np.dtype(np.uint8): (path.with_suffix(".squares"), (3, side, side)),
            np.dtype(np.float32): (path.with_suffix(".intensities"), (1, side, side)),
        }
        self._files: dict[np.dtype[Any], int] = {}
        self._lock = threading.Lock()
        self._full = False

    def make_room(self, images: int) -> None:
        """Write nothing from now on if the disk has no room for the squares and a table of them."""
        path, shape = self._kinds[np.dtype(np.uint8)]
        self._full = shutil.disk_usage(path.parent).free < 3 * images * int(np.prod(shape))

    def write(self, row: int, pixels: NDArray[Any]) -> None:
        """Write a square, (3, S, S) uint8 or (1, S, S) float32."""
        if self._full:
            return
        try:
            os.pwrite(self._file(pixels.dtype, os.O_CREAT), pixels.tobytes(), row * pixels.nbytes)
        except OSError:
            self._full = True

    def read(self, row: int) -> Iterator[NDArray[Any]]:
        """Yield the squares that may be a row's; many threads may read at once."""
        for dtype, (_, shape) in self._kinds.items():
            with suppress(FileNotFoundError):
                length = int(np.prod(shape)) * dtype.itemsize
                content = os.pread(self._file(dtype), length, row * length)
                if len(content) == length:
                    yield np.frombuffer(content, dtype).reshape(shape)

    def delete(self) -> None:
        """Delete the files."""
        self.close()
        for path, _ in self._kinds.values():
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _file(self, dtype: np.dtype[Any], flags: int = 0) -> int:
        with self._lock:
            if dtype not in self._files:
                flags |= os.O_RDWR | os.O_NOFOLLOW
                self._files[dtype] = os.open(self._kinds[dtype][0], flags, 0o644)
            return self._files[dtype]
