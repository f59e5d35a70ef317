"""Near-duplicates among hashes that a test has made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from revo_ray.data.near_duplicates.image_hashes import SIDE, ImageHashes
from revo_ray.data.near_duplicates.pairs import NearDuplicates
from revo_ray.data.table.survey import Hashes


def find_near_duplicates(
    hashes: Sequence[ImageHashes], folder: Path, names: Sequence[str] | None = None
) -> NearDuplicates:
    """The near-duplicates among hashes, as a survey would find them."""
    bits = [each.perceptual or bytes(SIDE**2 // 8) for each in hashes]
    found = Hashes(
        np.array([int.from_bytes(each.pixels[:8], "big") for each in hashes], np.uint64),
        np.frombuffer(b"".join(bits), np.uint8).reshape(len(hashes), -1),
        np.array([not each.perceptual for each in hashes]),
    )
    small = np.array([list(each.thumbnail or bytes(SIDE**2)) for each in hashes], np.uint8)
    names = names or [f"{i:06d}" for i in range(len(hashes))]
    return NearDuplicates.find(names, found, small.__getitem__, folder / "x.pairs")
