"""An image whose pixels another library than Pillow decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image


class LateImage(Image.Image):
    """An image that knows its size at once, and its pixels when they are first asked for.

    Args:
        size: width and height.
        mode: mode that the pixels will have, as far as the header tells.
        file_format: name of the format.
        pages: number of pages or frames, of which the image is the first.
        decode: returns the image with its pixels.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mode: str,
        file_format: str,
        pages: int,
        decode: Callable[[], Image.Image],
    ) -> None:
        super().__init__()
        self._size, self._mode = size, mode
        self.format = file_format
        self.n_frames = pages
        self._decode: Callable[[], Image.Image] | None = decode

    def load(self) -> Any:
        """Decode the pixels, once."""
        if self._decode is not None:
            made = self._decode()
            made.load()
            self.im, self._mode, self._size = made.im, made.mode, made.size
            self.info |= made.info
            self._decode = None
        return super().load()
