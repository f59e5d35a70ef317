"""Parallel coordinates: each evaluation is a line through its genes to its objective."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from revo_ray.report.figures.chart import FLOATS, Chart
from revo_ray.report.figures.genes import Genes
from revo_ray.report.figures.importance import Importance
from revo_ray.report.figures.network import groups
from revo_ray.report.style import FAINT, INK, SCALE, VERMILLION, styled

MOST = 8
"""Most axes of genes."""
LINES = 600
"""Most lines."""
FEW = 3
"""Fewest genes beyond chance that are shown alone."""


@styled()
def parallel_chart(
    genes: Genes, importance: Importance | None, units: Sequence[str], name: str, title: str
) -> Chart | None:
    """Draw evaluations as lines over few axes: all genes, the important ones, or depths.

    Args:
        genes: the evaluations.
        importance: importance of the genes, if it could be measured.
        units: units of the network; genes with other names belong to no depth.
        name, title: name and title of the chart.
    """
    axes_values, logs, why = _choose(genes, importance, units)
    objective = genes.objective
    count = len(genes.ranks)
    if count < 3 or not axes_values or len(set(genes.ranks)) < 2:
        return None
    labels = [*axes_values, f"rank of the {objective.title}"]
    drawn_values = [_with_frozen(values) for values in axes_values.values()]
    columns = np.stack([*drawn_values, genes.ranks], axis=1)
    low, high = columns.min(axis=0), columns.max(axis=0)
    places = (columns - low) / np.where(high > low, high - low, 1)
    places[:, -1] = 1 - genes.ranks  # the best at the top
    figure = Figure(figsize=(max(5.5, 1.6 + 1.05 * len(labels)), 4.6), layout="constrained")
    axes = figure.add_subplot()
    order = np.argsort(-genes.ranks, kind="stable")  # draw the best over the others
    if count > LINES:
        drawn = np.random.default_rng(0).choice(count, LINES, replace=False)
        order = order[np.isin(order, drawn) | (genes.ranks[order] == 0)]
    lines = [np.column_stack([np.arange(len(labels)), places[row]]) for row in order]
    colours = line_colours(genes.ranks[order])
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.9, alpha=0.65))
    bests = [row for row in order if genes.ranks[row] == 0]
    for row in bests:
        axes.plot(places[row], "o-", color=VERMILLION, lw=2, ms=4, zorder=4)
    ends = [
        (
            "frozen" if np.isnan(values).any() else _end(low[place], name in logs),
            _end(high[place], name in logs),
        )
        for place, (name, values) in enumerate(axes_values.items())
    ]
    _draw_axes(axes, labels, [*ends, ("worst", "best")])
    rows = [
        {"search": int(genes.searches[row])}
        | {name: _plain(values[row], name in logs) for name, values in axes_values.items()}
        | {f"{objective.name}_rank": float(genes.ranks[row])}
        for row in range(count)
    ]
    thinned = f"{LINES} of {count}" if count > LINES else f"{count}"
    best = "the best" if len(bests) == 1 else "the best of each search"
    return Chart(
        name,
        title,
        f"{thinned} evaluations, one line each: yellow is bad, purple is good, orange is {best}. "
        f"{why} {genes.note}".strip(),
        figure,
        rows,
    )


def line_colours(ranks: FLOATS) -> FLOATS:
    """Colours of lines by rank: purple for 0, the best, to yellow for 1."""
    return np.array(matplotlib.colormaps[SCALE](ranks * 0.95))


def _end(value: float, is_power: bool) -> str:
    """The value at an end of an axis; of a rate with two digits."""
    return f"{10**value:.1e}".replace("e-0", "e-") if is_power else f"{value:.3g}"


def _draw_axes(axes: Axes, labels: Sequence[str], ends: Sequence[tuple[str, str]]) -> None:
    """Draw a vertical axis for each gene, with its range, and one for the rank."""
    for place, (low, high) in enumerate(ends):
        axes.axvline(place, color=INK, lw=0.8, zorder=3)
        for y, text, side in ((-0.03, low, "top"), (1.03, high, "bottom")):
            axes.text(place, y, text, ha="center", va=side, fontsize=7.5,
                      bbox={"facecolor": "white", "lw": 0, "pad": 0.8}, zorder=5)  # fmt: skip
    axes.set(xlim=(-0.35, len(labels) - 0.65), ylim=(-0.1, 1.1))
    axes.set_xticks(range(len(labels)), labels, rotation=28, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="both", length=0, labelleft=False)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_edgecolor(FAINT)


def _choose(
    genes: Genes, importance: Importance | None, units: Sequence[str]
) -> tuple[dict[str, FLOATS], frozenset[str], str]:
    """The values of each axis by name, the names of axes of rates, and the reason for the choice.

    Axes of rates are powers of ten; NaN where all units of an axis are frozen.
    """
    columns = {name: genes.trained(name) for name in genes.names}
    if len(columns) <= MOST:
        return columns, genes.powers, "All genes are shown."
    decided = importance.decided if importance else []
    if importance and len(decided) >= FEW:
        chosen = sorted(importance.order[:MOST])
        return (
            {genes.names[gene]: columns[genes.names[gene]] for gene in chosen},
            genes.powers,
            f"Axes: the {len(chosen)} most important of {len(columns)} genes.",
        )
    parts = _depths([name for name in units if name in columns])
    means, logs = dict[str, FLOATS](), set[str]()
    for part, own in parts.items():
        label = f"{part}*" if genes.frozen & set(own) else part
        means[label] = _mean([columns[unit] for unit in own])
        if set(own) <= genes.powers:
            logs.add(label)
    others = [name for name in columns if name not in units][: MOST - len(means)]
    means |= {name: columns[name] for name in others}
    kind = "geometric mean rate" if logs else "mean gene"
    reason = f"Axes: {kind} of neighbouring units, input to head."
    if any(label.endswith("*") for label in means):
        reason += " Star: without the units that are frozen."
    return means, frozenset(logs | (genes.powers & set(others))), reason


def _mean(columns: Sequence[FLOATS]) -> FLOATS:
    """Mean of several genes, without those that are NaN; NaN where all are."""
    values = np.stack(columns)
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def _with_frozen(values: FLOATS) -> FLOATS:
    """The places on an axis: frozen units stand one power below all others."""
    return np.nan_to_num(values, nan=float(np.nanmin(values)) - 1)


def _plain(value: float, is_power: bool) -> float:
    """The value of an axis as a table holds it; the rate of a frozen unit is 0."""
    if np.isnan(value):
        return 0.0
    return float(10**value if is_power else value)


def _depths(units: Sequence[str]) -> dict[str, list[str]]:
    """At most seven groups of neighbouring blocks or stages: their units by name."""
    found = groups(units)
    if not found:
        return {}
    runs = np.array_split(np.arange(len(found)), min(MOST - 1, len(found)))
    parts = {}
    for run in runs:
        first, last = found[run[0]], found[run[-1]]
        name = first[0] if first is last else f"{first[0]} … {last[0]}"
        parts[name] = list(units[first[1] : last[2]])
    return parts
