"""Confusion matrix of the test images, for as many classes as can be named side by side."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from revo_ray.report.explained import Explained
from revo_ray.report.figures.chart import Chart
from revo_ray.report.style import BLUE, INK, STYLE, styled
from revo_ray.words import cut

MOST_CLASSES = 20
"""Most classes that are drawn."""
NAME = 22
"""Most characters of a name beside the matrix."""
_COLOURS = LinearSegmentedColormap.from_list("white to blue", ["#FFFFFF", BLUE])


@styled()
def confusion_chart(explained: Explained) -> Chart | None:
    """Draw true against predicted classes; None for too many classes, or without images."""
    matrix, names = explained.matrix, explained.names
    count = len(names)
    if not 1 < count <= MOST_CLASSES or not explained.images:
        return None
    support = matrix.sum(1, keepdims=True)
    shares = matrix / np.maximum(support, 1)
    labels = [cut(name, NAME) for name in names]
    named = can_draw(names) and len(set(labels)) == count
    if not named:
        labels = [str(number) for number in range(1, count + 1)]
    side, margin = 0.37 * count + 0.4, 0.085 * max(map(len, labels)) + 0.6
    figure = Figure(figsize=(max(3.4, side + margin), max(2.8, side + margin)))
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    axes.pcolormesh(shares, cmap=_COLOURS, vmin=0, vmax=1, edgecolors="white", linewidth=1)
    size = 9 if matrix.max() < 1000 else 7.5
    for true, predicted in zip(*np.nonzero(matrix), strict=True):
        dark = shares[true, predicted] > 0.5
        axes.text(predicted + 0.5, true + 0.5, f"{matrix[true, predicted]}", ha="center",
                  va="center", fontsize=size, color="white" if dark else INK)  # fmt: skip
    places = np.arange(count) + 0.5
    short = max(map(len, labels)) <= 3
    axes.set_xticks(places, labels, rotation=0 if short else 45, ha="center" if short else "right",
                    rotation_mode="default" if short else "anchor")  # fmt: skip
    axes.set_yticks(places, labels)
    axes.set(xlabel="predicted", ylabel="true", aspect="equal")
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    rows = [
        {"true": names[true], "predicted": names[predicted], "images": int(matrix[true, predicted])}
        for true in range(count)
        for predicted in range(count)
    ]
    caption = "Number of test images by true and predicted class. Colour: share of the true class."
    if not named:
        caption += " The numbers beside it are those of the table of classes."
    return Chart("confusion", "Confusion matrix", caption, figure, rows)


def can_draw(names: Sequence[str]) -> bool:
    """Whether the figures' font has all letters, and none is written from right to left."""
    (family,) = STYLE["font.family"]
    known = get_font(findfont(FontProperties(family=family))).get_charmap()
    return all(
        ord(letter) in known and unicodedata.bidirectional(letter) not in ("R", "AL")
        for name in names
        for letter in name
    )
