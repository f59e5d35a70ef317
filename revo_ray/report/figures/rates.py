"""Learning rates along the network: in a search's good plans, and over a study.

The figures of a study are the paper's figures 3 and 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from revo_ray.report.figures.chart import Chart, slug
from revo_ray.report.figures.network import depth_axis
from revo_ray.report.loaded_run import Run
from revo_ray.report.style import (
    BLUE,
    MUTED,
    SCALE,
    SEQUENCE,
    log_ticks,
    styled,
)
from revo_ray.rundir.evaluation import Evaluation

FLOATS = NDArray[np.float64]
GOOD = 0.2
"""Share of a search's evaluations whose plans count as good."""


def exponents(rows: Sequence[Evaluation]) -> FLOATS:
    """Exponents of ten of the rates, array `rows × units`; NaN for a frozen unit."""
    rates = np.array([row.unit_lrs for row in rows], dtype=np.float64)
    return np.log10(rates, where=rates > 0, out=np.full_like(rates, np.nan))


@styled()
def rates_by_depth(run: Run) -> Chart | None:
    """Draw the rates of the search's good plans along the network, beside those of the others.

    None with fewer than ten evaluations, or if no plan differs by unit.
    """
    ended = [r for r in run.rows if run.objective.counts(r) and r.status == "ok" and r.unit_lrs]
    if len(ended) < 10 or not varies(ended):
        return None
    order = sorted(ended, key=run.objective.rank_of)
    count = max(3, math.ceil(GOOD * len(order)))
    parts = {"best": order[:count], "others": order[count:]}
    values = {name: exponents(part) for name, part in parts.items()}
    everything = np.concatenate(list(values.values()))
    some_frozen = bool(np.isnan(everything).any())
    figure = Figure(figsize=(9.2, 5.0 if some_frozen else 3.7), layout="constrained")
    heights = [3, 1.3] if some_frozen else [3]
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    names = {"best": f"best {count} of {len(order)} evaluations", "others": "the others"}
    for name, colour in (("others", MUTED), ("best", BLUE)):
        _draw_quartiles(grid[0], values[name], colour, names[name])
        if some_frozen:
            share = np.isnan(values[name]).mean(axis=0)
            grid[1].step(np.arange(len(share)), share, where="mid", color=colour, lw=1.6)
    _rate_axis(grid[0], everything)
    grid[0].legend(loc="upper left", bbox_to_anchor=(0, 1.16), ncols=2)
    if some_frozen:
        grid[1].set(ylim=(0, 1), ylabel="share frozen", yticks=[0, 0.5, 1])
    depth_axis(grid[-1], run.units)
    rows = [
        {"plans": name} | row
        for name, part in values.items()
        for row in _quartile_rows(part, run.units)
    ]
    caption = (
        f"Median and middle half of each unit's rate along the network: blue in the best {count} "
        "plans of this search, grey in all others. Where blue leaves grey, good plans differ."
    )
    if some_frozen:
        caption += " Frozen units count in the share below, not in the median."
    return Chart("rates-by-depth", "Rates by depth", caption, figure, rows)


@styled()
def rates_over(runs: Sequence[Run], by: str, figure_number: int) -> Chart | None:
    """Draw the rates of best plans by data set or by data fraction.

    Args:
        runs: searches of one model and method.
        by: `data` or `fraction`.
        figure_number: number of the figure in the paper: 3 or 4.
    """
    parts: dict[Any, list[Evaluation]] = {}
    for run in runs:
        if run.best is not None and run.best.unit_lrs:
            parts.setdefault(getattr(run.outcome.identity, by), []).append(run.best)
    if not parts or (by == "fraction" and len(parts) < 2):
        return None
    parts = dict(sorted(parts.items()))
    values = {key: exponents(bests) for key, bests in parts.items()}
    everything = np.concatenate(list(values.values()))
    names = {key: f"{100 * key:g} %" if by == "fraction" else str(key) for key in parts}
    colours = _colours(list(parts), by)
    some_frozen = bool(np.isnan(everything).any())
    figure = Figure(figsize=(10.2, 5.2 if some_frozen else 4.0), layout="constrained")
    grid = figure.subplots(
        1 + some_frozen, 2, squeeze=False, sharex="col", width_ratios=[4, 1.1],
        height_ratios=[3, 1.3][: 1 + some_frozen],
    )  # fmt: skip
    for key, part in values.items():
        _draw_quartiles(grid[0, 0], part, colours[key], f"{names[key]} (n = {len(part)})")
        if some_frozen:
            share = np.isnan(part).mean(axis=0)
            grid[1, 0].step(np.arange(len(share)), share, where="mid", color=colours[key], lw=1.6)
    _rate_axis(grid[0, 0], everything)
    _draw_all_units(grid[:, 1], values, names, colours)
    if some_frozen:
        grid[1, 0].set(ylim=(0, 1), yticks=[0, 0.5, 1], ylabel="share frozen")
    grid[0, 1].sharey(grid[0, 0])
    grid[0, 1].tick_params(labelleft=False)
    units = next(run.units for run in runs if run.best is not None and run.best.unit_lrs)
    depth_axis(grid[-1, 0], units)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    identity = runs[0].outcome.identity
    what = "data set" if by == "data" else "data fraction"
    rows = [{by: key} | row for key, part in values.items() for row in _quartile_rows(part, units)]
    return Chart(
        f"rates-by-{by}-{slug(identity.method)}-{slug(identity.model)}",
        f"Rates by {what}: {identity.method}, {identity.model}",
        f"Learning rates of the best plans by {what}, as in the paper's figure {figure_number}. "
        "Left: median and middle half over searches, along the network. Right: all units (box: "
        "middle half, whiskers: 5–95 %)."
        + (" Frozen units count in the share below, not above." if some_frozen else "")
        + f" n counts searches; {_other(by)}",
        figure,
        rows,
    )


def varies(rows: Sequence[Evaluation]) -> bool:
    """Whether any plan gives its units different rates, or plans freeze different units."""
    patterns = {tuple(lr == 0 for lr in row.unit_lrs) for row in rows}
    unequal = any(len({lr for lr in row.unit_lrs if lr > 0}) > 1 for row in rows)
    return unequal or len(patterns) > 1


def _other(by: str) -> str:
    return (
        "fractions and seeds of a data set are pooled."
        if by == "data"
        else "data sets and seeds of a fraction are pooled."
    )


def _colours(keys: Sequence[Any], by: str) -> dict[Any, Any]:
    """Colours by key: fractions, which have an order, by brightness; data sets by hue."""
    if by == "data":
        return {key: SEQUENCE[index % len(SEQUENCE)] for index, key in enumerate(keys)}
    scale: Callable[[float], Any] = matplotlib.colormaps[SCALE]
    return {key: scale(0.82 * index / max(len(keys) - 1, 1)) for index, key in enumerate(keys)}


def _draw_quartiles(axes: Axes, values: FLOATS, colour: Any, label: str) -> None:
    low, middle, high = _quartiles(values)
    places = np.arange(values.shape[1])
    axes.fill_between(places, low, high, color=colour, alpha=0.18, lw=0)
    axes.plot(places, middle, ".-", color=colour, lw=1.6, ms=5, label=label)


def _draw_all_units(
    column: NDArray[Any], values: dict[Any, FLOATS], names: dict[Any, str], colours: dict[Any, Any]
) -> None:
    """Draw the rates of all units, and below them the shares of frozen units if there are two axes.

    Args:
        column: one or two axes.
        values: exponents by data set or fraction.
        names, colours: labels and colours of the same keys.
    """
    places = range(1, len(values) + 1)
    shades = [colours[key] for key in values]
    _draw_boxes(column[0], list(values.values()), shades)
    column[0].set_title("all units", fontsize=9, weight="normal")
    if len(column) > 1:
        shares = [float(np.isnan(part).mean()) for part in values.values()]
        column[1].bar(places, shares, color=shades, width=0.55)
        column[1].set(ylim=(0, 1), yticks=[0, 0.5, 1])
        column[1].tick_params(labelleft=False)
    column[-1].set_xticks(
        list(places), [shortened(names[key], 14) for key in values], rotation=38, ha="right",
        rotation_mode="anchor", fontsize=8,
    )  # fmt: skip
    column[-1].grid(axis="x", visible=False)


def _draw_boxes(axes: Axes, parts: Sequence[FLOATS], colours: Sequence[Any]) -> None:
    for place, (part, colour) in enumerate(zip(parts, colours, strict=True), 1):
        known = part[~np.isnan(part)]
        if len(known):
            axes.boxplot(
                [known], positions=[place], widths=0.55, whis=(5, 95), showfliers=False,
                patch_artist=True, boxprops={"facecolor": colour, "alpha": 0.35, "lw": 0},
                medianprops={"color": colour, "lw": 2}, whiskerprops={"color": colour},
                capprops={"color": colour},
            )  # fmt: skip


def _quartile_rows(values: FLOATS, units: Sequence[str]) -> list[dict[str, Any]]:
    """Quartiles and share of frozen plans for each unit."""
    low, middle, high = _quartiles(values)
    return [
        {"n": len(values), "unit": unit, "position": index}
        | {"log10_rate_q25": _number(low[index]), "log10_rate_median": _number(middle[index])}
        | {"log10_rate_q75": _number(high[index])}
        | {"share_frozen": float(np.isnan(values[:, index]).mean())}
        for index, unit in enumerate(units)
    ]


def _quartiles(values: FLOATS) -> FLOATS:
    """Quartiles of each column; NaN for a unit that is always frozen."""
    empty = np.isnan(values).all(axis=0)
    filled = np.where(empty, 0.0, values)
    found = np.nanquantile(filled, (0.25, 0.5, 0.75), axis=0)
    return np.where(empty, np.nan, found)


def _rate_axis(axes: Axes, values: FLOATS) -> None:
    low, high = exponent_range(values[~np.isnan(values)])
    axes.set_ylim(low - 0.05, high + 0.05)
    log_ticks(axes.yaxis, low, high)
    axes.set_ylabel("learning rate")


def exponent_range(values: FLOATS) -> tuple[float, float]:
    """Integers around all exponents."""
    if len(values) == 0:
        return -4.0, 0.0
    low, high = math.floor(values.min() + 1e-9), math.ceil(values.max() - 1e-9)
    return float(low), float(max(high, low + 1))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def shortened(name: str, most: int = 40) -> str:
    """A label without its middle, of at most `most` characters."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 + 1 :]}"
