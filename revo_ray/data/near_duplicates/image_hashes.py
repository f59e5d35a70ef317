"""Hashes by which an image is found again: of its exact pixels, and of what the eye sees."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 16
"""Side of a perceptual hash: it has SIDE² bits, one for each of the lowest frequencies.

The usual 8² bits cannot tell one article of clothing from another.
"""

MIN_CONTRAST = 8
"""Lowest difference between the darkest and the lightest grey level of images to compare."""


@dataclass(frozen=True, slots=True)
class ImageHashes:
    """Hashes by which an image is found again.

    Attributes:
        pixels: hash of the exact pixels.
        perceptual: SIDE² bits, alike for images that look alike; empty for a flat image.
        thumbnail: SIDE² grey levels; empty for a flat image.
    """

    pixels: bytes
    perceptual: bytes = b""
    thumbnail: bytes = b""

    @classmethod
    def of(cls, square: NDArray[Any]) -> ImageHashes:
        """Hash an image.

        Args:
            square: (3, S, S) uint8 RGB, or (1, S, S) float32 intensities, which are compared
                within their own range.
        """
        pixels = pixels_hash(square)
        image = _grey(square)
        if np.ptp(np.asarray(image)) < MIN_CONTRAST:
            return cls(pixels)
        import imagehash  # it brings SciPy, which a worker that trains does not need

        small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
        bits = imagehash.phash(image, hash_size=SIDE).hash
        return cls(pixels, np.packbits(bits).tobytes(), small.tobytes())


def pixels_hash(square: NDArray[Any]) -> bytes:
    """Hash of the exact pixels of an image."""
    return hashlib.sha256(np.ascontiguousarray(square).data).digest()


def _grey(square: NDArray[Any]) -> Image.Image:
    if square.dtype == np.uint8:
        return Image.fromarray(square.transpose(1, 2, 0)).convert("L")
    known = np.isfinite(square[0])
    if not known.any():
        return Image.new("L", square.shape[1:])
    low, high = square[0][known].min(), square[0][known].max()
    grey = np.where(known, (square[0] - low) * (255 / max(high - low, 1e-30)), 255)
    return Image.fromarray(np.rint(grey).astype(np.uint8))
