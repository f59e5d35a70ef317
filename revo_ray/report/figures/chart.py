"""A figure with its caption and its data, as a page and `report/figures/` hold it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from revo_ray.report.csv_tables import to_csv
from revo_ray.report.style import figure_bytes

FLOATS = NDArray[np.float64]


@dataclass(frozen=True)
class Chart:
    """A figure with its caption and its data.

    Attributes:
        name: name of its files, without a suffix.
        title: heading.
        caption: explanation below the figure.
        figure: the picture.
        rows: the data that it draws, unrounded; at least one row.
    """

    name: str
    title: str
    caption: str
    figure: Figure = field(repr=False)
    rows: Sequence[dict[str, Any]] = field(repr=False)

    @cached_property
    def svg(self) -> bytes:
        """The picture as SVG."""
        return figure_bytes(self.figure, "svg")

    def files(self) -> dict[str, bytes]:
        """Picture and data by file name."""
        return {
            f"{self.name}.svg": self.svg,
            f"{self.name}.png": figure_bytes(self.figure, "png"),
            f"{self.name}.csv": to_csv(self.rows).encode(),
        }

    @property
    def width(self) -> int:
        """Width in CSS pixels at which its text is as large as the page's."""
        return round(self.figure.get_size_inches()[0] * 96)


def slug(text: str) -> str:
    """A label as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()
