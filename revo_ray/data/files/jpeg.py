"""JPEG files that take far more work than their size tells."""

from __future__ import annotations

import io
import re

from PIL import JpegImagePlugin

from revo_ray.data.files.decode_error import DecodeError

MOST_SCANNED = 2**32
"""Most pixels of all scans together, which take some seconds. Programs write ten scans or so."""


def refuse_scans(data: bytes, pixels: int) -> None:
    """Refuse a JPEG with so many scans that decoding takes minutes, for each covers all pixels.

    Raises:
        DecodeError: it has too many.
    """
    scans = _count_scans(data)
    if scans * pixels > MOST_SCANNED:
        raise DecodeError(f"a JPEG of {scans:,} scans and {pixels:,} pixels, which takes too long")


def _count_scans(data: bytes) -> int:
    """The number of scans up to the end of the picture, behind which phones put a video."""
    place, scans = 2, 0
    while (found := _MARKER.search(data, place)) and found[1] != b"\xd9":
        scans += found[1] == b"\xda"
        size = int.from_bytes(data[found.end() : found.end() + 2], "big")
        place = found.end() + max(size, 2)
    return scans


_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")
"""A marker of a segment. Compressed pixels hold none."""


def refuse_scans_within(data: bytes) -> None:
    """Do the same with a JPEG in another file, and nothing with other bytes.

    Raises:
        DecodeError: it has too many scans.
    """
    try:
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    except Exception:  # the kinds of JPEG that Pillow does not know, and damaged ones
        return
    refuse_scans(data, image.width * image.height)
