"""Image sizes that a network takes whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from revo_ray.errors import UserError
from revo_ray.finetune.network.first_use import FirstUse

STEP, REACH = 16, 8
"""Sizes are tried in steps of so many pixels, or of a patch, and so many steps up and down."""


class ImageSizeError(UserError):
    """A network does not take images of a size.

    Args:
        name: the network.
        size: side of the images in pixels.
        why: the cause.
        step: the network may take sizes that are multiples of so many pixels.
        nearest: sizes that it takes; they may be found later.
    """

    def __init__(
        self, name: str, size: int, why: str, *, step: int = STEP, nearest: Iterable[int] = ()
    ) -> None:
        sizes = " and ".join(f"{near} px" for near in nearest)
        advice = f"; the nearest that it takes: {sizes}" if sizes else ""
        super().__init__(
            f"{name} takes no images of {size} px: {why}{advice}", key="data.image_size"
        )
        self.name, self.size, self.why, self.step = name, size, why, step

    def with_nearest(self, takes: Callable[[int], bool]) -> ImageSizeError:
        """The same error, with the nearest sizes that the network `takes`."""
        first = self.size - self.size % self.step
        below = (first - i * self.step for i in range(REACH))
        above = (first + i * self.step for i in range(1, REACH + 1))
        found = (
            next((s for s in sizes if 0 < s != self.size and takes(s)), None)
            for sizes in (below, above)
        )
        nearest = [size for size in found if size is not None]
        return ImageSizeError(self.name, self.size, self.why, step=self.step, nearest=nearest)


def check_border(name: str, size: int, use: FirstUse) -> None:
    """Refuse a size whose border a network would drop.

    Raises:
        ImageSizeError: patches do not divide the images.
    """
    lost = max((patches.lost for patches in use.patches), default=0)
    if lost:
        step = math.lcm(*(patches.step for patches in use.patches))
        widths = " and ".join(f"{s} px" for s in sorted({p.step for p in use.patches}))
        why = f"its patches of {widths} would leave out {lost} px at the border"
        raise ImageSizeError(name, size, why, step=step)
