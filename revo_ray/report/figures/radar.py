"""Test AUC of the methods over data sets (the paper's figure 1)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from revo_ray.report.figures.chart import Chart
from revo_ray.report.outcomes import SearchOutcome, is_revo, methods_of
from revo_ray.report.scores import AUC
from revo_ray.report.style import INK, MUTED, Look, add_legend, looks, styled

LEAST = 3
"""Fewest axes of a radar."""
INNER = 0.2
"""Radius of the worst method on an axis; the best has radius 1."""

PanelScores = dict[str, dict[str, list[float]]]
"""Scores by axis, then by method: one for each seed."""


@styled()
def radar_chart(outcomes: Sequence[SearchOutcome]) -> Chart | None:
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
        position = (lines, columns, index + 1)
        if all_radars:
            _draw_radar(figure, position, title, scores, methods, look)
        else:
            _draw_dots(figure, position, title, scores, methods, look)
        rows += [
            {"panel": title, "axis": axis, "method": method, "n": len(values)}
            | {"test_auc": statistics.fmean(values)}
            for axis, of in scores.items()
            for method, values in of.items()
        ]
    add_legend(figure, look, methods)
    how = (
        "Each axis goes from the worst method near the centre to the best on the rim, as in the "
        "paper: the numbers at an axis say how small the difference may be."
        if all_radars
        else "A radar needs three data sets or fractions, so the scores stand on lines."
    )
    return Chart(
        "radar",
        "Methods over data sets",
        f"Test AUC of finished searches, mean over the seeds (the paper's figure 1). {how} The "
        "statistics say which differences are more than chance.",
        figure,
        rows,
    )


def _panels(outcomes: Sequence[SearchOutcome]) -> dict[str, PanelScores]:
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


def _draw_radar(
    figure: Figure,
    position: Any,
    title: str,
    scores: PanelScores,
    methods: Sequence[str],
    look: dict[str, Look],
) -> None:
    axes: Any = figure.add_subplot(*position, projection="polar")
    axes.set_theta_offset(math.pi / 2)
    axes.set_theta_direction(-1)
    names = list(scores)
    angles = np.linspace(0, 2 * math.pi, len(names), endpoint=False)
    means = {name: {m: statistics.fmean(v) for m, v in of.items()} for name, of in scores.items()}
    labels = [
        f"{name}\n{100 * min(of.values()):.1f}–{100 * max(of.values()):.1f}"
        for name, of in means.items()
    ]
    for method in methods:
        radii = [_radius(means[name], method) for name in names]
        known = [(a, r) for a, r in zip(angles, radii, strict=True) if r is not None]
        if not known:
            continue
        closed = [*known, known[0]] if len(known) == len(names) else known
        own = is_revo(method)
        axes.plot(*zip(*closed, strict=True), marker=look[method].marker, ms=4.5 if own else 3.5,
                  lw=2.4 if own else 1.3, zorder=4 if own else 3, **look[method].line)  # fmt: skip
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


def _draw_dots(
    figure: Figure,
    position: Any,
    title: str,
    scores: PanelScores,
    methods: Sequence[str],
    look: dict[str, Look],
) -> None:
    axes = figure.add_subplot(*position)
    names = list(scores)
    count = len(methods)
    for index, method in enumerate(methods):
        shift = 0.5 * (index - (count - 1) / 2) / max(count - 1, 1)
        for place, name in enumerate(names):
            if values := scores[name].get(method):
                mean = 100 * statistics.fmean(values)
                axes.plot([mean], [place + shift], look[method].marker, color=look[method].colour)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.set_xlabel("test AUC, %", color=INK)
    axes.set_title(title)
    axes.tick_params(axis="y", length=0, color=MUTED)


def _radius(means: dict[str, float], method: str) -> float | None:
    if method not in means:
        return None
    low, high = min(means.values()), max(means.values())
    return INNER + (1 - INNER) * ((means[method] - low) / (high - low) if high > low else 1.0)
