"""Test AUC of the methods over data sets (the paper's figure 1)."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from revo_ray.report.figures.chart import Chart
from revo_ray.report.outcomes import Outcomes, is_revo, methods_of
from revo_ray.report.scores import AUC
from revo_ray.report.style import INK, MUTED, Look, add_legend, looks, styled

LEAST = 3
"""Fewest axes of a radar."""
INNER = 0.2
"""Radius of the worst method on an axis; the best has radius 1."""

PanelScores = dict[str, dict[str, list[float]]]
"""Scores by axis, then by method: one for each seed."""
Means = dict[str, dict[str, float]]
"""Mean scores by axis, then by method."""


@styled()
def radar_chart(outcomes: Outcomes) -> Chart | None:
    """Draw one radar of the test AUC for each model and fraction; an axis is a data set.

    With fewer than three data sets, an axis is a data set and a fraction. With fewer than three of
    those, the methods are dots on lines. None with fewer than two methods.
    """
    tested = [outcome for outcome in outcomes if outcome.score(AUC) is not None]
    methods = methods_of(tested)
    if len(methods) < 2:
        return None
    panels = _panels(tested)
    if not panels:
        return None
    look = looks(methods_of(outcomes))
    all_radars = all(len(axes) >= LEAST for axes in panels.values())
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    size = (5.5, 4.4) if all_radars else (5.6, 0.9 + 0.42 * max(map(len, panels.values())))
    figure = Figure(figsize=(size[0] * columns, size[1] * lines + 0.9), layout="constrained")
    rows: list[dict[str, Any]] = []
    for index, (title, scores) in enumerate(panels.items()):
        projection = "polar" if all_radars else None
        axes = figure.add_subplot(lines, columns, index + 1, projection=projection)
        means = {
            axis: {m: statistics.fmean(v) for m, v in of.items()} for axis, of in scores.items()
        }
        draw = _draw_radar if all_radars else _draw_dots
        draw(axes, title, means, {method: look[method] for method in methods})
        rows += [
            {"panel": title, "axis": axis, "method": method, "n": len(values)}
            | {"test_auc": means[axis][method]}
            for axis, of in scores.items()
            for method, values in of.items()
        ]
    add_legend(figure, look, methods)
    how = (
        "Each axis goes from the worst method, near the centre, to the best; its numbers are the "
        "range."
        if all_radars
        else "A radar needs three data sets or fractions, so the scores stand on lines."
    )
    return Chart(
        "radar",
        "Methods over data sets",
        f"Test AUC of finished searches, mean over seeds (paper, figure 1). {how}",
        figure,
        rows,
    )


def _panels(outcomes: Outcomes) -> dict[str, PanelScores]:
    """Scores of each radar by its title: data sets at one fraction, or data sets × fractions."""
    panels: dict[str, PanelScores] = {}
    models = sorted({outcome.identity.model for outcome in outcomes})
    by_fraction = len({outcome.identity.data for outcome in outcomes}) >= LEAST
    for outcome in outcomes:
        i = outcome.identity
        parts = [i.model] if len(models) > 1 or not by_fraction else []
        if by_fraction:
            parts.append(f"{100 * i.fraction:g} % training images")
        axis = i.data if by_fraction else f"{i.data} {100 * i.fraction:g} %"
        value = outcome.score(AUC)
        assert value is not None
        of = panels.setdefault(", ".join(parts), {}).setdefault(axis, {})
        of.setdefault(i.method, []).append(value)
    compared = {
        title: {axis: of for axis, of in scores.items() if len(of) > 1}
        for title, scores in panels.items()
    }
    return {title: scores for title, scores in compared.items() if scores}


def _draw_radar(axes: Any, title: str, means: Means, look: dict[str, Look]) -> None:
    axes.set_theta_offset(math.pi / 2)
    axes.set_theta_direction(-1)
    angles = np.linspace(0, 2 * math.pi, len(means), endpoint=False)
    labels = [
        f"{name}\n{100 * min(of.values()):.1f}–{100 * max(of.values()):.1f}"
        for name, of in means.items()
    ]
    for method, own in look.items():
        radii = [_radius(of, method) for of in means.values()]
        known = [(a, r) for a, r in zip(angles, radii, strict=True) if r is not None]
        if not known:
            continue
        closed = [*known, known[0]] if len(known) == len(means) else known
        size, width, order = (4.5, 2.4, 4) if is_revo(method) else (3.5, 1.3, 3)
        axes.plot(*zip(*closed, strict=True), marker=own.marker, ms=size, lw=width, zorder=order,
                  **own.line)  # fmt: skip
    axes.set_xticks(angles, labels, fontsize=8.5)
    for label, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side = math.sin(angle)
        label.set_horizontalalignment(
            "left" if side > 0.1 else "right" if side < -0.1 else "center"
        )
    axes.set_ylim(0, 1.06)
    axes.set_yticks([INNER, 1], ["", ""])
    axes.spines["polar"].set_visible(False)
    axes.set_title(title, pad=22, loc="center")


def _draw_dots(axes: Any, title: str, means: Means, look: dict[str, Look]) -> None:
    count = len(look)
    for index, (method, own) in enumerate(look.items()):
        shift = 0.5 * (index - (count - 1) / 2) / max(count - 1, 1)
        for place, of in enumerate(means.values()):
            if method in of:
                axes.plot([100 * of[method]], [place + shift], own.marker, color=own.colour)
    axes.set_yticks(range(len(means)), list(means))
    axes.set_ylim(len(means) - 0.45, -0.55)
    axes.set_xlabel("test AUC, %", color=INK)
    axes.set_title(title)
    axes.tick_params(axis="y", length=0, color=MUTED)


def _radius(means: dict[str, float], method: str) -> float | None:
    if method not in means:
        return None
    low, high = min(means.values()), max(means.values())
    return INNER + (1 - INNER) * ((means[method] - low) / (high - low) if high > low else 1.0)
