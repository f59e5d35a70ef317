"""A picture of the rates of every unit, generation by generation.

Drawn with Pillow, in a few milliseconds: matplotlib takes fifty times that, which a driver would
spend while workers wait for it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

COLUMNS = 128
"""Of more generations, neighbours share one."""
LABELS = 34
"""Units that are named; of more, some are not."""
NAME_LENGTH = 26

WIDTHS, WIDTH_ALONE = (400, 250), 640
"""Of the two panels, in pixels; and of the first where nothing is ever frozen."""
MARGIN, GAP, BAR = 12, 96, 14
TOP, BOTTOM = 40, 44
INK, FROZEN = (40, 40, 40), (217, 217, 217)


@dataclass(frozen=True)
class Heat:
    """What is drawn.

    Attributes:
        units: names, input to output.
        log_rates: mean log10 rate of the samples that train a unit, NaN where none does, shape
            (generations, units).
        frozen: part of the samples that freeze it, of the same shape.
        axis: what a column is.
    """

    units: Sequence[str]
    log_rates: np.ndarray
    frozen: np.ndarray
    axis: str

    @property
    def digest(self) -> str:
        """Equal for equal pictures."""
        content = repr((4, list(self.units), self.axis, self.log_rates.shape)).encode()
        found = hashlib.sha256(content)
        for values in (self.log_rates, self.frozen):
            found.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
        return found.hexdigest()

    def png(self) -> bytes:
        """The picture, 8-bit RGB, with the digest in it."""
        every = -(-len(self.units) // LABELS)
        first = (len(self.units) - 1) % every  # so that the last one, the head, is named
        labels = {i: _short(self.units[i]) for i in range(first, len(self.units), every)}
        widths = WIDTHS if self.frozen.any() else (WIDTH_ALONE,)
        left = MARGIN + 8 + round(max(_font().getlength(text) for text in labels.values()))
        height = max(160, min(17 * len(self.units), 560))
        size = (left + sum(widths) + len(widths) * GAP, TOP + height + BOTTOM)
        picture = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(picture)
        for index, text in labels.items():
            y = TOP + (index + 0.5) * height / len(self.units)
            draw.text((left - 6, y), text, INK, _font(), anchor="rm")
        low, high = _range(self.log_rates)
        grey = " (grey: all freeze it)" if len(widths) > 1 else ""
        panels = (
            (f"log10 learning rate{grey}", "viridis", self.log_rates, low, high),
            ("fraction of samples that freeze it", "Blues", self.frozen, 0.0, 1.0),
        )
        x = left
        for (title, colours, values, least, most), width in zip(panels, widths, strict=False):
            box = (x, TOP, x + width, TOP + height)
            table = _colours(colours)
            cells = _coloured(_merged(values), table, least, most)
            picture.paste(_stretched(cells, width, height), box[:2])
            draw.rectangle(box, outline=INK)
            draw.text((x, TOP - 10), title, INK, _font(), anchor="ls")
            self._draw_axis(draw, box)
            _draw_bar(picture, draw, box, table, (least, most))
            x += width + GAP
        info = PngInfo()
        info.add_text("Digest", self.digest)
        file = io.BytesIO()
        picture.save(file, format="png", compress_level=3, pnginfo=info)
        return file.getvalue()

    def _draw_axis(self, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
        x, _, right, y = box
        count = len(self.frozen)
        step = next(s for n in range(12) for s in (10**n, 2 * 10**n, 5 * 10**n) if count <= 8 * s)
        for column in range(0, count, step):
            at = x + (column + 0.5) * (right - x) / count
            draw.line((at, y, at, y + 4), INK)
            draw.text((at, y + 6), str(column), INK, _font(), anchor="ma")
        draw.text(((x + right) / 2, y + 22), self.axis, INK, _font(), anchor="ma")


def _draw_bar(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    table: np.ndarray,
    limits: tuple[float, float],
) -> None:
    """The scale of colours, on a panel's right."""
    _, top, x, bottom = box
    x += 10
    ramp = table[np.linspace(255, 0, bottom - top).astype(int)][:, np.newaxis]
    picture.paste(_stretched(ramp, BAR, bottom - top), (x, top))
    draw.rectangle((x, top, x + BAR, bottom), outline=INK)
    for place in np.linspace(0, 1, 5):
        y = bottom + place * (top - bottom)
        value = limits[0] + place * (limits[1] - limits[0])
        draw.text((x + BAR + 5, y), f"{value:.2f}", INK, _font(), anchor="lm")


def _range(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(high) + 0.5)


def _coloured(values: np.ndarray, table: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values (generations, units) as pixels (units, generations, 3)."""
    known = np.isfinite(values)
    places = np.where(known, (values - low) / (high - low), 0.0)
    cells = table[np.clip(places * 255, 0, 255).round().astype(int)]
    cells[~known] = FROZEN
    return cells.transpose(1, 0, 2)


def _stretched(cells: np.ndarray, width: int, height: int) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(cells), "RGB")
    return image.resize((width, height), Image.Resampling.NEAREST)


def _merged(values: np.ndarray) -> np.ndarray:
    """Means of neighbouring generations, NaNs left out, where there are too many of them."""
    share = -(-len(values) // COLUMNS)
    if share == 1:
        return values
    starts = np.arange(0, len(values), share)
    known = np.isfinite(values)
    counts = np.add.reduceat(known, starts, dtype=np.int64)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


@cache
def _colours(name: str) -> np.ndarray:
    """A colour map of matplotlib, shape (256, 3)."""
    from matplotlib import colormaps  # takes long, and only a driver draws

    return colormaps[name](np.arange(256), bytes=True)[:, :3]


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=12)


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"
