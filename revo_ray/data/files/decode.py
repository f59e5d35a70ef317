"""From an image to a square of RGB pixels, or of intensities of more than 8 bits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from revo_ray.data.files.decode_error import DecodeError
from revo_ray.data.files.intensity import resized_intensities
from revo_ray.data.files.room import PIXELS, pixel_room
from revo_ray.data.image_records import Finding, Topic
from revo_ray.settings.limits import MAX_PIXELS

# A damaged file is an error here, which has its own line: Pillow logs nothing.
logging.getLogger("PIL").addHandler(logging.NullHandler())

Fit = Literal["crop", "pad", "stretch"]

_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda pixels: pixels[:, :, ::-1],
    3: lambda pixels: pixels[:, ::-1, ::-1],
    4: lambda pixels: pixels[:, ::-1],
    5: lambda pixels: pixels.swapaxes(1, 2),
    6: lambda pixels: pixels[:, ::-1].swapaxes(1, 2),
    7: lambda pixels: pixels[:, ::-1, ::-1].swapaxes(1, 2),
    8: lambda pixels: pixels.swapaxes(1, 2)[:, ::-1],
}
"""Functions that bring pixels (C, H, W) of each EXIF orientation upright."""


MOST_PAGES = 1000
"""Most pages that are counted."""
_HALVED = "of 16 bits"


class Facts(NamedTuple):
    """Facts that an image's file declares.

    Attributes:
        size: width and height in pixels, as stored.
        kind: format and mode, such as `JPEG RGB`; `PNG RGB of 16 bits` has as many for each
            colour, of which Pillow reads the upper 8.
        pages: number of pages of a TIFF, or of frames of a DICOM file; 1 for animations.
    """

    size: tuple[int, int]
    kind: str
    pages: int


def facts(image: Image.Image) -> Facts:
    """Facts about an image; ask before `square`, which may decode a smaller one."""
    kind = f"{image.format or ''} {image.mode}".strip()
    raw = [str(tile[3]) for tile in getattr(image, "tile", ())]  # Pillow's modes of the data
    halved = len(image.getbands()) > 1 and any(";16" in mode for mode in raw)
    return Facts(image.size, f"{kind} {_HALVED}" if halved else kind, _pages(image))


def square(
    image: Image.Image, size: int, fit: Fit = "crop", max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """An upright square of an image, resized with an antialiased bicubic filter.

    Transparent pixels are laid over white, an animation gives its first frame. A JPEG of at least
    four times the size in both directions is decoded at 1/2, 1/4 or 1/8 scale, so that twice the
    size is left; on photographs this changes the result by less than one grey level in mean. The
    scale of `image` itself changes then.

    `ImageOps.fit` and `ImageOps.exif_transpose` would give other pixels: the first does not know
    that a reduced JPEG is smaller by a part of a pixel, and the second has to turn the image before
    it is resized.

    Args:
        image: in any mode and size, with its pixels decoded or not.
        size: S, in pixels.
        fit: crop takes the centre square, pad the whole image between two black bars, stretch the
            whole image out of proportion.
        max_pixels: an image that declares more is refused undecoded, unless it is a JPEG, which is
            decoded at a scale at which it has no more.

    Returns:
        (3, S, S) uint8, RGB. An image of more than 8 bits, signed or float, gives its
        intensities, (1, S, S) float32, NaN where the image has no value; see `intensity.to_8_bits`.

    Raises:
        DecodeError: the image has too many pixels.
        Exception: whatever Pillow raises for pixels that it cannot decode; see `explain`.
    """
    return facts_and_square(lambda: image, size, fit, max_pixels)[1]


def facts_and_square(
    open_image: Callable[[], Image.Image], size: int, fit: Fit, max_pixels: int = MAX_PIXELS
) -> tuple[Facts, NDArray[np.uint8] | NDArray[np.float32]]:
    """Open an image, and make its `facts` and its `square`.

    Memory for the pixels is taken from `room.PIXELS`; the image is gone before it is given back.
    """
    image = open_image()
    known, whole = facts(image), image.size
    reduced = image.draft(image.mode, _draft_size(image, size, fit, max_pixels))
    # A progressive JPEG is held whole, whatever the scale at which it is decoded.
    width, height = whole if image.info.get("progressive") else image.size
    with PIXELS.taking(pixel_room(image, width * height)):
        pixels = _decoded(image, size, fit, whole, reduced)
        del image
    return known, pixels


def _decoded(
    image: Image.Image, size: int, fit: Fit, whole: tuple[int, int], reduced: Any
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Decode an image and cut the square; `reduced` is the answer of Pillow's `draft`."""
    image.load()
    width, height = reduced[1][2:] if reduced else image.size  # in parts of a pixel if reduced
    box, shape = (0.0, 0.0, float(width), float(height)), (size, size)
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    elif fit == "pad":
        shape = _fitting(whole, size)
    if image.mode.startswith(("I", "F")):
        pixels = resized_intensities(image, shape, box)[None]
    else:
        small = _flat(image).resize(shape, Image.Resampling.BICUBIC, box)
        pixels = np.asarray(small.convert("RGB")).transpose(2, 0, 1)
    turn = _TURNS.get(_orientation(image))  # on the small image, for the centre stays the centre
    if turn is not None:
        pixels = turn(pixels)
    return np.ascontiguousarray(_between_bars(pixels, size))


def explain(error: BaseException) -> str:
    """Why an image cannot be read or decoded, in one short clause for a user."""
    text = " ".join(str(error).split())
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a format that is read"
    if isinstance(error, Image.DecompressionBombError):  # where a reader asks for itself
        return "more pixels than data.max_pixels and Pillow's own limit allow"
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


def _too_many(pixels: int, limit: int) -> str:
    return f"{pixels:,} pixels, over data.max_pixels: {limit:,}"


def pages_finding(paged: Sequence[str]) -> list[Finding]:
    """Say of which files only the first page or frame is used, by their names."""
    if not paged:
        return []
    has = "1 file has" if len(paged) == 1 else f"{len(paged):,} files have"
    text = (
        f"{has} several pages or frames, of which the first is the image: {paged[0]!r}"
        + (", …" if len(paged) > 1 else "")
        + "; save the others as files of their own to use them"
    )
    return [Finding(Topic.OTHER, text)]


def halved_finding(kinds: Sequence[str]) -> list[Finding]:
    """Say how many images have colours of 16 bits, by the kinds of all images."""
    halved = sum(kind.endswith(_HALVED) for kind in kinds)
    if not halved:
        return []
    has = "1 image has" if halved == 1 else f"{halved:,} images have"
    text = (
        f"{has} 16 bits for each colour, of which the upper 8 are read: values below 256 are black "
        "and 65,535 is white; save them with 8 bits if they fill a smaller range"
    )
    return [Finding(Topic.INTENSITY, text)]


def _draft_size(image: Image.Image, size: int, fit: Fit, limit: int) -> tuple[int, int]:
    """The least size at which a JPEG may be decoded.

    Raises:
        DecodeError: the image has too many pixels at any scale.
    """
    width, height = _fitting(image.size, size) if fit == "pad" else (size, size)
    least = 2 * width, 2 * height
    pixels = image.width * image.height
    if not pixels:
        raise DecodeError(f"{image.width}×{image.height} pixels")
    if pixels <= limit:
        return least
    # A progressive JPEG is held whole, whatever the scale at which it is decoded.
    whole = 2 * limit if image.info.get("progressive") else pixels
    for scale in (2, 4, 8):
        if image.format in ("JPEG", "MPO") and pixels <= min(limit * scale**2, whole):
            return min(least[0], image.width // scale), min(least[1], image.height // scale)
    raise DecodeError(_too_many(pixels, limit))


def _fitting(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size at which an image just fits into a square of that side."""
    longer = max(size)
    return max(1, round(size[0] * side / longer)), max(1, round(size[1] * side / longer))


def _between_bars(pixels: NDArray[Any], size: int) -> NDArray[Any]:
    """Put pixels (C, H, W) into the middle of a black square."""
    _, height, width = pixels.shape
    if height == width == size:
        return pixels
    black = 0 if pixels.dtype == np.uint8 else -np.inf
    whole = np.full((len(pixels), size, size), black, pixels.dtype)
    top, left = (size - height) // 2, (size - width) // 2
    whole[:, top : top + height, left : left + width] = pixels
    return whole


def _pages(image: Image.Image) -> int:
    if image.format not in ("TIFF", "DICOM"):
        return 1
    try:
        if image.format == "TIFF" and type(image) is TiffImagePlugin.TiffImageFile:
            return _tiff_pages(image)
        return int(getattr(image, "n_frames", 1))
    except Exception:  # a later page is damaged: the first may be sound
        return 1


def _tiff_pages(image: Image.Image) -> int:
    """The number of pages, counted as far as `MOST_PAGES`: each takes Pillow longer to find."""
    pages = 1
    with suppress(EOFError):
        while pages < MOST_PAGES:
            image.seek(pages)  # one after the other: a step over several counts them wrong
            pages += 1
    image.seek(0)
    return pages


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none; metadata that is damaged spoils no image."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's parsers raise anything
        return 1


def _flat(image: Image.Image) -> Image.Image:
    """The same image in mode L or RGB."""
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(clear, mask=clear.getchannel("A"))
        return flat
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")
