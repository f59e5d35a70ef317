"""Pixels of more than 8 bits, signed or float: one range of intensities for the whole table."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from revo_ray.data.files.decode_error import DecodeError
from revo_ray.data.image_records import Finding, Topic

_SHIFT = 12  # a bin holds the floats that share sign, exponent and 11 bits of the fraction
_BINS = 2 ** (32 - _SHIFT)
_TAIL = 0.001  # part of the pixels at either end that sets no range: hot pixels, a marker
_FILLED = 0.25  # part of a range of whole bits that the pixels must fill for it to be taken
_MISSING = 255  # pixels without a value are white, as transparent pixels are

Range = tuple[float, float]
"""The values that become black and white."""


def resized_intensities(
    image: Image.Image, shape: tuple[int, int], box: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    """The intensities of a part of an image, resized with an antialiased bicubic filter.

    Args:
        image: in a mode of more than 8 bits, with its pixels decoded.
        shape: width W and height H of the result.
        box: left, top, right and bottom of the part.

    Returns:
        (H, W), none beyond those in the image; NaN where the image has no value.
    """
    grey = np.array(image, np.float32)
    known = np.isfinite(grey)
    for name in ("transparency", "nodata"):  # the one grey that stands for transparent, or nothing
        if isinstance(clear := image.info.get(name), int | float):
            known &= grey != np.float32(clear)
    if white := image.info.get("white"):  # a TIFF in which 0 is white, and this is black
        grey = white - grey
    if not known.any():
        return np.full(shape[::-1], np.nan, np.float32)
    least, most = grey[known].min(), grey[known].max()

    def resize(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BICUBIC, box))

    if known.all():
        return resize(grey).clip(least, most)
    part = resize(known.astype(np.float32))  # of each pixel that has a value
    with np.errstate(all="ignore"):
        small = resize(np.where(known, grey, np.float32(0))) / part
    return np.where(part < 0.5, np.nan, small.clip(least, most)).astype(np.float32)


def to_8_bits(deep: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Map intensities of low … high to grey levels of 0 … 255.

    Args:
        deep: (1, S, S), NaN where the image has no value.
        low, high: values that become black and white; others beyond them do too.

    Returns:
        (3, S, S), three times the same grey.
    """
    width = high - low
    with np.errstate(over="ignore", invalid="ignore"):
        grey = np.rint((deep.astype(np.float64) - low) * (255 / width if width > 0 else 1))
    grey = np.where(np.isnan(grey), _MISSING, grey.clip(0, 255))
    return np.repeat(grey.astype(np.uint8), 3, axis=0)


def shown(
    pixels: NDArray[np.uint8] | NDArray[np.float32], limits: Range | None
) -> NDArray[np.uint8]:
    """The pixels (3, S, S) of a square from `decode.square`.

    Args:
        pixels: RGB, which is returned, or intensities.
        limits: values that become black and white. None is for a model that has seen no
            intensities: they are those of 16 bits, if the image has no others.

    Raises:
        DecodeError: there are no limits, and intensities beyond 16 bits.
    """
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    deep = pixels.astype(np.float32, copy=False)
    if limits is None:
        known = deep[np.isfinite(deep)]
        if known.any() and not (known.min() >= 0 and 1 < known.max() <= 65_535):
            raise DecodeError("intensities whose range is not known: the model has seen none")
        limits = 0.0, 65_535.0
    return to_8_bits(deep, *limits)


class IntensityRange:
    """The range of all deep images of a table, found from a histogram of their pixels.

    It does not depend on the order of the images, it takes 8 MB however many they are, and the
    histograms of two parts can be merged.
    """

    def __init__(self) -> None:
        self.images = 0
        self._counts: NDArray[np.int64] | None = None
        self._least, self._most = math.inf, -math.inf

    def add(self, deep: NDArray[np.float32]) -> None:
        """Count the pixels of an image, as `decode.square` returns them."""
        self.images += 1
        values = deep[np.isfinite(deep)]
        if not values.size:
            return
        bins, counts = np.unique(_bin(values), return_counts=True)
        self._histogram()[bins] += counts
        self._least = min(self._least, float(values.min()))
        self._most = max(self._most, float(values.max()))

    def merge(self, other: IntensityRange) -> None:
        """Add the images that another one has counted."""
        self.images += other.images
        if other._counts is not None:
            self._histogram()[:] += other._counts
            self._least = min(self._least, other._least)
            self._most = max(self._most, other._most)

    def range(self) -> Range:
        """The values that become black and white.

        They are 0 and 2^k - 1, with the smallest k of 1 and 8 … 32 that holds the pixels, where
        these are not negative and fill a quarter of that range: files of full 16 bits are read as
        such, and 12 bits in them too. Otherwise, as for signed pixels, they are the least and the
        largest pixel, without the outermost thousandth at either end.
        """
        if self._counts is None:
            return 0.0, 1.0
        low, high = self._quantile(_TAIL), self._quantile(1 - _TAIL)
        if low == high:  # a few marks on an even ground
            low, high = self._least, self._most
        if low >= 0:
            top = self._quantile(1 - _TAIL / 10)
            for full in (1, *(2**bits - 1 for bits in range(8, 33))):
                if top <= full:
                    if high - low >= _FILLED * full:
                        return 0.0, float(full)
                    break
        return low, high

    def _histogram(self) -> NDArray[np.int64]:
        if self._counts is None:
            self._counts = np.zeros(_BINS, np.int64)
        return self._counts

    def _quantile(self, part: float) -> float:
        """The value below which that part of the pixels lies, to a part of 2^-11 of it."""
        counts = np.cumsum(self._histogram())
        place = math.floor(part * (counts[-1] - 1))
        value = _edge(int(np.searchsorted(counts, place, side="right")))
        return min(max(value, self._least), self._most)


def intensity_finding(images: int, limits: Range) -> Finding:
    """Say which range was taken.

    Args:
        images: number of images that have intensities.
        limits: the values that become black and white.
    """
    low, high = limits
    which = "1 image has" if images == 1 else f"{images:,} images have"
    text = (
        f"{which} pixels of more than 8 bits, signed or float: {low:.6g} becomes black and "
        f"{high:.6g} white in all of them; data.intensity: [low, high] sets another range"
    )
    return Finding(Topic.INTENSITY, text, "data.intensity")


def _bin(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Numbers of the bins, in the order of the values."""
    bits = (values + np.float32(0)).view(np.uint32)  # + 0 makes -0 a 0
    return np.where(bits >> 31, ~bits, bits | np.uint32(2**31)) >> np.uint32(_SHIFT)


def _edge(index: int) -> float:
    """The value at which a bin begins, or ends if it is negative."""
    bits = index << _SHIFT
    bits = bits & 2**31 - 1 if bits >> 31 else ~bits & 2**32 - 2**_SHIFT
    return float(np.array([bits], np.uint32).view(np.float32)[0])
