"""Learning rates along the network: in a search's good plans, and over a study.

The figures of a study are the paper's figures 3 and 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from revo_ray.report.figures.chart import FLOATS, Chart, slug
from revo_ray.report.figures.left_out import left_out_text
from revo_ray.report.figures.network import depth_axis
from revo_ray.report.loaded_run import Run
from revo_ray.report.style import BLUE, MUTED, SCALE, SEQUENCE, log_ticks, styled
from revo_ray.rundir import Evaluation

Part = tuple[str, FLOATS, Any]
"""Plans that are drawn together: their label, exponents `plans × units`, and colour."""
GOOD = 0.2
"""Share of a search's evaluations whose plans count as good."""


def exponents(rows: Sequence[Evaluation]) -> FLOATS:
    """Exponents of ten of the rates, array `rows × units`; NaN for a frozen unit."""
    rates = np.array([row.unit_lrs for row in rows], dtype=np.float64)
    return np.log10(rates, where=rates > 0, out=np.full_like(rates, np.nan))


@styled()
def rates_by_depth(run: Run) -> Chart | None:
    """Draw the rates of the search's good plans along the network, beside those of the others.

    None with fewer than ten evaluations beside the sweep, or if no plan differs by unit.
    """
    known = run.rows[len(run.swept) :]
    ended = [r for r in known if run.objective.counts(r) and r.status == "ok" and r.unit_lrs]
    if len(ended) < 10 or not varies(ended):
        return None
    order = sorted(ended, key=run.objective.rank_of)
    count = max(3, math.ceil(GOOD * len(order)))
    parts = {"best": order[:count], "others": order[count:]}
    values = {name: exponents(part) for name, part in parts.items()}
    some_frozen = any(np.isnan(part).any() for part in values.values())
    figure = Figure(figsize=(9.2, 5.0 if some_frozen else 3.7), layout="constrained")
    heights = [3, 1.3] if some_frozen else [3]
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    best = f"best {count} of {len(order)} evaluations", values["best"], BLUE
    _draw_by_depth(grid, [("the others", values["others"], MUTED), best], run.units)
    grid[0].legend(loc="upper left", bbox_to_anchor=(0, 1.16), ncols=2)
    rows = [
        {"plans": name} | row
        for name, part in values.items()
        for row in _quartile_rows(part, run.units)
    ]
    caption = (
        f"Median and middle half of each unit's rate: blue for the best {count} plans, grey for "
        f"the others. {left_out_text([run], ended)}".strip()
    )
    if some_frozen:
        caption += " Frozen units count only in the share below."
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
    some_frozen = any(np.isnan(part).any() for part in values.values())
    figure = Figure(figsize=(10.2, 5.2 if some_frozen else 4.0), layout="constrained")
    grid = figure.subplots(
        1 + some_frozen, 2, squeeze=False, sharex="col", width_ratios=[4, 1.1],
        height_ratios=[3, 1.3][: 1 + some_frozen],
    )  # fmt: skip
    names = [f"{100 * key:g} %" if by == "fraction" else str(key) for key in parts]
    shown = list(zip(names, values.values(), _colours(len(parts), by), strict=True))
    units = next(run.units for run in runs if run.best is not None and run.best.unit_lrs)
    counted = [(f"{name} (n = {len(part)})", part, colour) for name, part, colour in shown]
    _draw_by_depth(grid[:, 0], counted, units)
    _draw_all_units(grid[:, 1], shown)
    grid[0, 1].sharey(grid[0, 0])
    grid[0, 1].tick_params(labelleft=False)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    identity = runs[0].outcome.identity
    what, pooled = "data set", "fractions and seeds of a data set"
    if by == "fraction":
        what, pooled = "data fraction", "data sets and seeds of a fraction"
    rows = [{by: key} | row for key, part in values.items() for row in _quartile_rows(part, units)]
    return Chart(
        f"rates-by-{by}-{slug(identity.method)}-{slug(identity.model)}",
        f"Rates by {what}: {identity.method}, {identity.model}",
        f"Rates of the best plans (paper, figure {figure_number}). Left: median and middle half. "
        "Right: all units, whiskers 5–95 %. "
        + ("Frozen units count only in the share. " if some_frozen else "")
        + f"n counts searches; {pooled} are pooled.",
        figure,
        rows,
    )


def varies(rows: Sequence[Evaluation]) -> bool:
    """Whether any plan gives its units different rates, or plans freeze different units."""
    patterns = {tuple(lr == 0 for lr in row.unit_lrs) for row in rows}
    unequal = any(len({lr for lr in row.unit_lrs if lr > 0}) > 1 for row in rows)
    return unequal or len(patterns) > 1


def _colours(count: int, by: str) -> list[Any]:
    """Colours of data sets, by hue, or of fractions, which have an order, by brightness."""
    if by == "data":
        return [SEQUENCE[index % len(SEQUENCE)] for index in range(count)]
    scale: Callable[[float], Any] = matplotlib.colormaps[SCALE]
    return [scale(0.82 * index / max(count - 1, 1)) for index in range(count)]


def _draw_by_depth(column: NDArray[Any], parts: Sequence[Part], units: Sequence[str]) -> None:
    """Draw quartiles of rates along the network, and the shares of frozen units on a second axis.

    Args:
        column: one or two axes.
        parts: sets of plans.
        units: names of the network's units.
    """
    places = np.arange(len(units))
    for label, values, colour in parts:
        low, middle, high = _quartiles(values)
        column[0].fill_between(places, low, high, color=colour, alpha=0.18, lw=0)
        column[0].plot(places, middle, ".-", color=colour, lw=1.6, ms=5, label=label)
        for axes in column[1:]:
            axes.step(places, np.isnan(values).mean(axis=0), where="mid", color=colour, lw=1.6)
    everything = np.concatenate([values for _, values, _ in parts])
    bottom, top = exponent_range(everything[~np.isnan(everything)])
    column[0].set_ylim(bottom - 0.05, top + 0.05)
    log_ticks(column[0].yaxis, bottom, top)
    column[0].set_ylabel("learning rate")
    for axes in column[1:]:
        axes.set(ylim=(0, 1), yticks=[0, 0.5, 1], ylabel="share frozen")
    depth_axis(column[-1], units)


def _draw_all_units(column: NDArray[Any], parts: Sequence[Part]) -> None:
    """Draw the rates of all units together, and the shares of frozen units on a second axis."""
    places = range(1, len(parts) + 1)
    for place, (_, values, colour) in zip(places, parts, strict=True):
        if len(known := values[~np.isnan(values)]):
            column[0].boxplot(
                [known], positions=[place], widths=0.55, whis=(5, 95), showfliers=False,
                patch_artist=True, boxprops={"facecolor": colour, "alpha": 0.35, "lw": 0},
                medianprops={"color": colour, "lw": 2}, whiskerprops={"color": colour},
                capprops={"color": colour},
            )  # fmt: skip
        for axes in column[1:]:
            axes.bar([place], [np.isnan(values).mean()], color=[colour], width=0.55)
    column[0].set_title("all units", fontsize=9, weight="normal")
    for axes in column[1:]:
        axes.set(ylim=(0, 1), yticks=[0, 0.5, 1])
        axes.tick_params(labelleft=False)
    names = [shortened(name, 14) for name, _, _ in parts]
    slanted = {"rotation": 38, "ha": "right", "rotation_mode": "anchor"}
    column[-1].set_xticks(places, names, fontsize=8, **slanted)
    column[-1].grid(axis="x", visible=False)


def _quartile_rows(values: FLOATS, units: Sequence[str]) -> list[dict[str, Any]]:
    """Quartiles and share of frozen plans for each unit."""
    low, middle, high = _quartiles(values)
    return [
        {"n": len(values), "unit": unit, "position": index}
        | {"log10_rate_q25": low[index], "log10_rate_median": middle[index]}
        | {"log10_rate_q75": high[index], "share_frozen": np.isnan(values[:, index]).mean()}
        for index, unit in enumerate(units)
    ]


def _quartiles(values: FLOATS) -> FLOATS:
    """Quartiles of each column; NaN for a unit that is always frozen."""
    empty = np.isnan(values).all(axis=0)
    filled = np.where(empty, 0.0, values)
    found = np.nanquantile(filled, (0.25, 0.5, 0.75), axis=0)
    return np.where(empty, np.nan, found)


def exponent_range(values: FLOATS) -> tuple[float, float]:
    """Integers around all exponents."""
    if len(values) == 0:
        return -4.0, 0.0
    low, high = math.floor(values.min() + 1e-9), math.ceil(values.max() - 1e-9)
    return float(low), float(max(high, low + 1))


def shortened(name: str, most: int = 40) -> str:
    """A label without its middle, of at most `most` characters."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 + 1 :]}"
