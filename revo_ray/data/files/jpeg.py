"""JPEG files that take far more work than their size tells."""

from __future__ import annotations

import io

from PIL import JpegImagePlugin

from revo_ray.data.files.decode_error import DecodeError

MOST_SCANNED = 2**32
"""Most pixels of all scans together, which take some seconds. Programs write ten scans or so."""


def refuse_scans(data: bytes, pixels: int) -> None:
    """Refuse a JPEG with so many scans that decoding takes minutes, for each covers all pixels.

    Raises:
        DecodeError: it has too many.
    """
    scans = data.count(b"\xff\xda")  # compressed pixels hold no 0xDA behind 0xFF
    if scans * pixels > MOST_SCANNED:
        raise DecodeError(f"a JPEG of {scans:,} scans and {pixels:,} pixels, which takes too long")


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
