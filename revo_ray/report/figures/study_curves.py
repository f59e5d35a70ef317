"""Best-so-far curves of a study's methods, by epochs spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from revo_ray.objective import Metric
from revo_ray.report.figures.best_so_far import best_so_far, least_shown, style_values
from revo_ray.report.figures.chart import FLOATS, Chart
from revo_ray.report.loaded_run import Run
from revo_ray.report.outcomes import is_revo
from revo_ray.report.scores import objectives_text
from revo_ray.report.style import Look, add_legend, looks, styled

Panel = tuple[tuple[str, str, float], Metric]
"""A panel of the figure: model, data and fraction, and the objective."""


@styled()
def study_curves(runs: Sequence[Run]) -> Chart | None:
    """Draw the best value of the objective against epochs, for each model, data and fraction."""
    panels: dict[Panel, list[Run]] = {}
    for run in runs:
        if run.best is not None:
            panels.setdefault((run.outcome.cell, run.objective), []).append(run)
    if not panels:
        return None
    width = min(2, len(panels))
    height = -(-len(panels) // width)
    figure = Figure(figsize=(4.6 * width, 2.9 * height + 0.7), layout="constrained")
    look = looks({run.method for run in runs})
    rows: list[dict[str, Any]] = []
    several = len({model for (model, _, _), _ in panels}) > 1
    for index, (((model, data, fraction), objective), members) in enumerate(panels.items()):
        axes = figure.add_subplot(height, width, index + 1)
        axes.set_title((f"{model}, " if several else "") + f"{data}, {100 * fraction:g} %")
        place = {"model": model, "data": data, "fraction": fraction}
        rows += [place | row for row in _draw_panel(axes, members, objective, look)]
    if not rows:
        return None
    columns = dict.fromkeys(column for row in rows for column in row)
    add_legend(figure, look, list(look))
    random = "is" if any(method.startswith("random") for method in look) else "is not"
    return Chart(
        "best-so-far",
        "Best so far",
        f"Best validation {objectives_text({o for _, o in panels})} by epochs of training, mean "
        "over seeds, from where every seed has one. Methods that stop early make more evaluations "
        f"of as many epochs. Random search {random} among them.",
        figure,
        [{column: row.get(column) for column in columns} for row in rows],
    )


def _draw_panel(
    axes: Axes, runs: Sequence[Run], objective: Metric, look: dict[str, Look]
) -> list[dict[str, Any]]:
    """Draw each method's curve; the data of the curves."""
    rows: list[dict[str, Any]] = []
    column = f"best_{objective.column}"
    methods = sorted({run.method for run in runs})
    owns = {method: [run for run in runs if run.method == method] for method in methods}
    curves = {method: _mean_curve(own, objective) for method, own in owns.items()}
    least = least_shown(objective, np.concatenate([mean for _, mean in curves.values()]))
    for method, own in owns.items():
        epochs, mean = curves[method]
        if len(mean) == 0:
            continue
        shown = np.maximum(mean, least)
        thickness, order = (2.2, 3) if is_revo(method) else (1.4, 2)
        axes.step(epochs, shown, where="post", lw=thickness, zorder=order, **look[method].line)
        if mean[-1] <= least:
            axes.annotate(f"{mean[-1]:.2g}", (epochs[-1], least), fontsize=7.5, ha="right",
                          va="bottom", xytext=(-3, 2), textcoords="offset points")  # fmt: skip
        axes.plot(epochs[-1:], shown[-1:], look[method].marker, color=look[method].colour, ms=5)
        rows += [
            {"method": method, "seeds": len(own), "epochs": int(e), column: float(m)}
            for e, m in zip(epochs, mean, strict=True)
        ]
    axes.set_xlabel("epochs spent")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style_values(axes, objective)
    return rows


def _mean_curve(runs: Sequence[Run], objective: Metric) -> tuple[FLOATS, FLOATS]:
    """Epochs at which any seed has a new row, and the mean over the seeds of the best until then.

    Both are empty if one seed ends before another one's first success.
    """
    curves = []
    for run in runs:
        best = best_so_far(run.rows, objective)
        spent = np.cumsum([row.epochs for row in run.rows])
        finite = np.isfinite(best)
        curves.append((spent[finite], best[finite]))
    start = max(spent[0] for spent, _ in curves)
    end = min(spent[-1] for spent, _ in curves)
    if start > end:
        return np.array([]), np.array([])
    grid = np.unique(np.concatenate([spent for spent, _ in curves]))
    grid = grid[(grid >= start) & (grid <= end)].astype(np.float64)
    values = [best[np.searchsorted(spent, grid, side="right") - 1] for spent, best in curves]
    return grid, np.mean(values, axis=0)
