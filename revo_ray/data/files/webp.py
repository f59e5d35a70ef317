"""WebP files: Pillow takes memory for all pixels as it opens one, so it is opened late."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from revo_ray.data.files.late_image import LateImage


def late(data: bytes, open_image: Callable[[], Image.Image]) -> Image.Image:
    """The image of a WebP file, opened when its pixels are first asked for.

    Args:
        data: the bytes.
        open_image: opens them with Pillow; called at once if they do not tell the size.
    """
    kind, head = data[12:16], int.from_bytes(data[20:30], "little")
    if len(data) < 30 or kind not in (b"VP8 ", b"VP8L", b"VP8X"):
        return open_image()
    if kind == b"VP8X":
        alpha, size = bool(head & 0x10), (1 + (head >> 32 & 0xFFFFFF), 1 + (head >> 56))
    elif kind == b"VP8L":
        size = 1 + (head >> 8 & 0x3FFF), 1 + (head >> 22 & 0x3FFF)
        alpha = bool(head >> 36 & 1)
    else:
        alpha, size = False, (head >> 48 & 0x3FFF, head >> 64 & 0x3FFF)
    return LateImage(size, "RGBA" if alpha else "RGB", "WEBP", _frames(data), open_image)


def _frames(data: bytes) -> int:
    """The number of pictures in a file: each of an animation has a chunk of its own."""
    place, count = 12, 0
    while place + 8 <= len(data):
        count += data[place : place + 4] == b"ANMF"
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
    return max(count, 1)
