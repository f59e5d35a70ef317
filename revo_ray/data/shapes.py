"""Shapes of images: how much of them the square of `data.fit` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from revo_ray.data.image_records import Finding, Topic
from revo_ray.words import counted

LONG = 2.0
"""Least ratio of the longer to the shorter side of a long image."""

Size = tuple[int, int]
"""Width and height in pixels."""


def aspects(sizes: Sequence[Size]) -> tuple[float, ...]:
    """Width over height of the tallest, the median and the widest image; none without images."""
    ordered = sorted(width / height for width, height in sizes)
    return (ordered[0], ordered[len(ordered) // 2], ordered[-1]) if ordered else ()


def ratio_text(ratio: float) -> str:
    """A ratio of at least 1, in three digits or as a whole number."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def shape_findings(sizes: Sequence[Size], fit: Literal["crop", "pad", "stretch"]) -> list[Finding]:
    """Warn of long images, of which a centre square shows a small part."""
    ratios = [max(size) / min(size) for size in sizes]
    long = sum(ratio >= LONG for ratio in ratios)
    if fit != "crop" or not long:
        return []
    are = "is" if long == 1 else "are"
    text = (
        f"{counted(long, 'image')} {are} at least twice as long in one direction, up to "
        f"{ratio_text(max(ratios))} times, and only the centre square is seen; data.fit: pad or "
        "stretch shows all of them"
    )
    return [Finding(Topic.SHAPES, text, "data.fit")]
