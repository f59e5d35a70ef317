"""The critical-difference diagram: average ranks on a scale, and a bar over equal methods.

After Demšar, JMLR 7 (2006), figure 1, with the best method on the left.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from revo_ray.report.ranking import Ranking
from revo_ray.report.style import GROUP, INK, MUTED, REFERENCE, styled
from revo_ray.words import counted

SIZE = 10.0
"""Size of labels in points."""
WRAP = 30
"""Most characters of a method's name in one line."""
LINE = SIZE * 1.3 / 72
"""Height of a line of text in inches."""
MARGIN, GAP, STUB, SCALE = 0.25, 0.12, 0.3, 5.2
"""Inches of the margin, from line to label, from scale to line's end, and of the scale."""
BAR = 0.13
"""Inches between bars."""
TOP = 1.2
"""Inches from a diagram's top to its scale."""
FOOTER = "A bar joins methods whose average ranks are closer than the critical difference."


@dataclass(frozen=True)
class _Label:
    """A method's name, broken into lines, and its average rank."""

    lines: list[str]
    rank: float
    is_reference: bool

    @property
    def text(self) -> str:
        return "\n".join([*self.lines[:-1], f"{self.lines[-1]}  {self.rank:.2f}"])

    @property
    def height(self) -> float:
        return LINE * (len(self.lines) + 0.45)


_Sides = tuple[list[_Label], list[_Label]]


@styled()
def draw_ranks(rankings: Mapping[str, Ranking], reference: str | None = None) -> Figure:
    """Draw one diagram for each ranking, one below the other.

    Args:
        rankings: rankings by score, such as `AUC`; each has at least two methods.
        reference: method to highlight.
    """
    labels = {name: _labels(ranking, reference) for name, ranking in rankings.items()}
    sides = [side for left, right in labels.values() for side in (left, right)]
    widest = max(_width(label.text) for side in sides for label in side)
    titles = [_width(_title(name, ranking), SIZE + 1) for name, ranking in rankings.items()]
    width = 2 * MARGIN + max(2 * (widest + GAP + STUB) + SCALE, *titles)
    heights = {name: _height(rankings[name], labels[name]) for name in rankings}
    height = sum(heights.values()) + 2 * MARGIN
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))  # inches, like everything here
    axes.axis("off")
    top = height - MARGIN
    for name, ranking in rankings.items():
        _draw(axes, name, ranking, labels[name], top, width)
        top -= heights[name]
    axes.text(MARGIN, MARGIN / 2, FOOTER, size=SIZE - 1, color=MUTED)
    return figure


def rank_rows(rankings: Mapping[str, Ranking]) -> list[dict[str, Any]]:
    """The diagram's data, one row for each metric and method.

    `groups` holds the numbers of the bars that cover the method, from 1.
    """
    return [
        {
            "metric": name,
            "method": method,
            "average_rank": rank,
            "blocks": ranking.blocks,
            "critical_difference": ranking.critical_difference,
            "alpha": ranking.alpha,
            "friedman_p": ranking.p,
            "groups": " ".join(str(n) for n, g in enumerate(ranking.groups, 1) if method in g),
        }
        for name, ranking in rankings.items()
        for method, rank in zip(ranking.methods, ranking.ranks, strict=True)
    ]


def _labels(ranking: Ranking, reference: str | None) -> _Sides:
    """Labels on the left (better half, best first) and on the right (the others, worst first)."""
    wrapper = textwrap.TextWrapper(WRAP, break_long_words=False, break_on_hyphens=False)
    labels = [
        _Label(wrapper.wrap(method), rank, method == reference)
        for method, rank in zip(ranking.methods, ranking.ranks, strict=True)
    ]
    half = math.ceil(len(labels) / 2)
    return labels[:half], labels[: half - 1 : -1]


def _width(text: str, size: float = SIZE) -> float:
    """Width of a text in inches, in bold."""
    font = FontProperties(weight="bold")
    paths = [TextPath((0, 0), line, size=size, prop=font) for line in text.split("\n")]
    return float(max(path.get_extents().width for path in paths)) / 72


def _height(ranking: Ranking, sides: _Sides) -> float:
    rows = max(sum(label.height for label in side) for side in sides)
    return TOP + _bars_height(ranking) + rows + 0.35


def _bars_height(ranking: Ranking) -> float:
    return 0.2 + BAR * len(_stack(ranking))


def _stack(ranking: Ranking) -> list[list[tuple[float, float]]]:
    """Spans of ranks of the groups, in rows whose spans do not touch."""
    rank = dict(zip(ranking.methods, ranking.ranks, strict=True))
    rows: list[list[tuple[float, float]]] = []
    for group in ranking.groups:
        span = rank[group[0]], rank[group[-1]]
        for row in rows:
            if row[-1][1] + 0.15 < span[0]:
                row.append(span)
                break
        else:
            rows.append([span])
    return rows


def _draw(axes: Axes, name: str, ranking: Ranking, sides: _Sides, top: float, width: float) -> None:
    count = len(ranking.methods)
    start = (width - SCALE) / 2
    scale = top - TOP

    def x(rank: float) -> float:
        return start + (rank - 1) / (count - 1) * SCALE

    title = _title(name, ranking)
    axes.text(MARGIN, top, title, size=SIZE + 1, weight="bold", color=INK, va="top")
    _draw_distance(axes, ranking, x(1), SCALE / (count - 1), top - 0.65)
    axes.plot([x(1), x(count)], [scale, scale], color=INK, lw=1.2, solid_capstyle="projecting")
    for rank in range(1, count + 1):
        axes.plot([x(rank)] * 2, [scale, scale + 0.08], color=INK, lw=1.2)
        axes.text(x(rank), scale + 0.12, str(rank), size=SIZE - 1, color=INK, ha="center")
    aligned = ("right", start - STUB), ("left", start + SCALE + STUB)
    for labels, (align, edge) in zip(sides, aligned, strict=True):
        y = scale - _bars_height(ranking)
        for label in labels:
            y -= label.height
            _draw_label(axes, label, x(label.rank), scale, y + label.height / 2, edge, align)
    for row, spans in enumerate(_stack(ranking)):
        y = scale - 0.16 - row * BAR
        for low, high in spans:
            ends = [x(low) - 0.03, x(high) + 0.03]
            axes.plot(ends, [y, y], color=GROUP, lw=4, solid_capstyle="butt", zorder=5)


def _draw_label(
    axes: Axes, label: _Label, x: float, scale: float, y: float, edge: float, align: str
) -> None:
    colour, weight, order, thickness = INK, "normal", 3, 1.0
    if label.is_reference:  # drawn over equal ranks
        colour, weight, order, thickness = REFERENCE, "bold", 4, 1.8
    axes.plot([x, x, edge], [scale, y, y], color=colour, lw=thickness, zorder=order)
    axes.plot([x], [scale], marker="o", ms=4, color=colour, zorder=order)
    edge += -GAP if align == "right" else GAP
    axes.text(edge, y, label.text, size=SIZE, color=colour, weight=weight, ha=align, va="center")


def _draw_distance(axes: Axes, ranking: Ranking, x: float, unit: float, y: float) -> None:
    """Draw the critical difference as a length, or say that it is longer than the scale."""
    distance = ranking.critical_difference
    assert distance is not None
    text = f"critical difference {distance:.2f}, longer than the scale: nothing can differ"
    if ranking.could_decide:
        text = f"critical difference {distance:.2f} (Nemenyi, alpha {ranking.alpha:g})"
        end = x + distance * unit
        axes.plot([x, end], [y, y], color=MUTED, lw=1.6)
        for tick in (x, end):
            axes.plot([tick, tick], [y - 0.05, y + 0.05], color=MUTED, lw=1.6)
    axes.text(x, y + 0.1, text, size=SIZE - 1, color=MUTED)


def _title(name: str, ranking: Ranking) -> str:
    title = f"{name}: average rank over {counted(ranking.blocks, 'block')}, 1 is best"
    if ranking.p is None:
        return title
    p = "p < 0.001" if ranking.p < 0.001 else f"p = {ranking.p:.3f}"
    verdict = "" if ranking.p <= ranking.alpha else ": no evidence that methods differ"
    return f"{title}; Friedman {p}{verdict}"
