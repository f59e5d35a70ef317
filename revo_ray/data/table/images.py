"""The pixels of a table as one array that stays on the disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Images:
    """Array (N, 3, S, S) uint8 over the mapped batches of a file; indexing reads and copies.

    Args:
        batches: arrays (n, 3, S, S) uint8 of any n, which hold the images in order.
        side: S.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, batches: Sequence[NDArray[np.uint8]], side: int) -> None:
        self._batches = list(batches)
        self._ends = np.cumsum([len(batch) for batch in batches], dtype=np.int64)
        self._rows = np.arange(self._ends[-1] if len(self._ends) else 0)
        self.shape = (len(self._rows), 3, side, side)
        self.nbytes = math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        """Copy the images at a position, a slice, positions or a mask, as in numpy."""
        rows = np.atleast_1d(chosen := self._rows[index])
        copies = np.empty((len(rows), *self.shape[1:]), np.uint8)
        self.read(rows, out=copies)
        return copies if np.ndim(chosen) else copies[0]

    def read(self, rows: NDArray[np.intp], *, out: NDArray[np.uint8]) -> None:
        """Copy the images at positions (n,), counted from 0, to `out` (n, 3, S, S)."""
        batches = np.searchsorted(self._ends, rows, side="right")
        for copy, batch, before_end in zip(
            out, batches.tolist(), (rows - self._ends[batches]).tolist(), strict=True
        ):
            copy[:] = self._batches[batch][before_end]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)
