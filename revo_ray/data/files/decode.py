"""From the bytes of an image file to a square of 8-bit RGB pixels."""

from __future__ import annotations

import functools
import io
import logging
import posixpath
import re

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

# What Pillow says of a damaged file is the reason of an error here, and no line of its own.
logging.getLogger("PIL").addHandler(logging.NullHandler())

MAX_PIXELS = 89_478_485
"""An image that declares more is refused undecoded: a quarter of a gibibyte as RGB."""

_FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "JPEG2000", "AVIF", "PPM", "QOI"),
    *("DDS", "PSD", "ICO", "ICNS", "PCX", "SGI", "SUN", "XBM", "XPM"),
    "TGA",  # last, for it has no mark of its own
)
"""No EPS, PDF or WMF: pages that another program draws."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transpositions that bring an image of each EXIF orientation upright."""


class DecodeError(ValueError):
    """An image that is not decoded, for the reason given in one clause."""


@functools.cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read, in the order of trying."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@functools.cache
def extensions() -> frozenset[str]:
    """The file name endings of these formats, in lower case with their dot."""
    readable = {*formats(), "MPO"}  # MPO: several JPEGs in one file, which JPEG's reader opens
    known = Image.registered_extensions()
    return frozenset(ending for ending, name in known.items() if name in readable)


def is_image(path: str) -> bool:
    """Whether a file's name ends as those of images do that can be read."""
    return posixpath.splitext(path)[1].lower() in extensions()


def open_image(data: bytes) -> Image.Image:
    """The image in a file's bytes, whose pixels are not decoded yet.

    Pillow may warn, of odd metadata for instance; a caller who wants silence catches warnings
    around all its threads, because `warnings.catch_warnings` is for the whole process.

    Raises:
        DecodeError: there are no bytes, no pixels or more than `MAX_PIXELS`.
        Exception: whatever Pillow raises for bytes that it cannot read; see `explain`.
    """
    if not data:
        raise DecodeError("an empty file")
    image = Image.open(io.BytesIO(data), formats=formats())
    pixels = image.width * image.height
    if not pixels:
        raise DecodeError(f"{image.width}×{image.height} pixels")
    if pixels > MAX_PIXELS:
        raise DecodeError(_too_many(pixels))
    return image


def square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """The upright centre square of an image, resized with an antialiased bicubic filter.

    Transparent pixels are laid over white, 16-bit grey is scaled to 8 bits, an animation gives its
    first frame. A JPEG of at least four times the size in both directions is decoded at 1/2, 1/4
    or 1/8 scale, so that twice the size is left; on photographs this changes the result by less
    than one grey level in mean. The scale of `image` itself changes then.

    `ImageOps.fit` and `ImageOps.exif_transpose` would give other pixels: the first does not know
    that a reduced JPEG is smaller by a part of a pixel, and the second has to turn the image before
    it is resized.

    Args:
        image: in any mode and size, with its pixels decoded or not.
        size: S, in pixels.

    Returns:
        (3, S, S) uint8, RGB.

    Raises:
        DecodeError: the pixels have no fixed range, as floats.
        Exception: whatever Pillow raises for pixels that it cannot decode; see `explain`.
    """
    reduced = image.draft(image.mode, (2 * size, 2 * size))
    image.load()
    width, height = reduced[1][2:] if reduced else image.size  # in parts of a pixel if reduced
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    small = _flat(image).resize(
        (size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side)
    )
    turn = _TURNS.get(_orientation(image))  # on the small image, for the centre stays the centre
    if turn is not None:
        small = small.transpose(turn)
    return np.ascontiguousarray(np.asarray(small.convert("RGB")).transpose(2, 0, 1))


def explain(error: BaseException) -> str:
    """Why an image cannot be read or decoded, in one short clause for a user."""
    text = " ".join(str(error).split())
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a format that is read"
    if isinstance(error, Image.DecompressionBombError):
        found = re.search(r"\((\d+) pixels\)", text)
        return _too_many(int(found[1])) if found else text
    if isinstance(error, MemoryError):
        return "too large for the memory"
    if isinstance(error, OSError) and error.strerror:
        text = " ".join(error.strerror.split())
        text = text[:1].lower() + text[1:]
    elif "truncated" in text.lower():
        return "truncated"
    elif not isinstance(error, (OSError, DecodeError)):  # a parser's, about bytes in the file
        text = f"damaged ({text or type(error).__name__})"
    return text if len(text) <= 200 else text[:199] + "…"


def _too_many(pixels: int) -> str:
    return f"{pixels:,} pixels, over the limit of {MAX_PIXELS:,}"


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none; metadata that is damaged spoils no image."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's parsers raise anything
        return 1


def _flat(image: Image.Image) -> Image.Image:
    """The same image in mode L or RGB."""
    if image.mode.startswith("I"):
        return _eight_bits(image)
    if image.mode == "F":
        raise DecodeError("floating-point pixels, whose range is not known")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(clear, mask=clear.getchannel("A"))
        return flat
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 0 … 65,535 as grey of 0 … 255."""
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 65_535:
        raise DecodeError("integer pixels of more than 16 bits, whose range is not known")
    scaled = np.rint(grey / np.float32(257)).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # the one grey that stands for transparent
        scaled[grey == clear] = 255
    return Image.fromarray(scaled)
