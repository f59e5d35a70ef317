"""Memory for decoding, which all threads of a process share: more cores take no more of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from revo_ray.settings.limits import MAX_PIXELS

_PLAIN, _COSTLY = 5, 16
"""Bytes for each pixel: of an image that is only decoded, and of one that is converted too."""
_PLAIN_MODES = ("1", "L", "P", "RGB", "YCbCr", "CMYK")
_PLAIN_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "GIF", "PPM", "TGA")


# The C library keeps freed blocks of up to 32 MiB for the thread that had them. Larger ones, as
# large images then have them, go back at once.
Image.core.set_block_size(2**26)  # type: ignore[attr-defined]


class Room:
    """A number of bytes that threads take a part of, and wait for.

    Args:
        size: the bytes. More than that can be taken by one thread alone.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._taken = 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, size: int) -> Iterator[None]:
        """Hold so many bytes; first come, first served."""
        with self._turn, self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + size <= self.size)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()


FILES = Room(2**29)
"""For the bytes of files. A thread may wait for `PIXELS` while it holds some, not the other way."""

PIXELS = Room(_COSTLY * MAX_PIXELS)
"""For decoded pixels: the costliest image of the default `data.max_pixels` decodes alone."""


def file_room(size: int) -> int:
    """Bytes that a file of a size takes while it is read or unpacked: there are two copies."""
    return 2 * size


def pixel_room(image: Image.Image, pixels: int) -> int:
    """Bytes that so many pixels of an image take while they are decoded, flattened and resized."""
    plain = image.mode in _PLAIN_MODES and not image.has_transparency_data
    known = image.format is None or image.format in _PLAIN_FORMATS
    return pixels * (_PLAIN if plain and known else _COSTLY)
