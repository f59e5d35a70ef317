"""Best plans along the network: of one search, and of all searches of a study."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from revo_ray.report.figures.chart import Chart, slug
from revo_ray.report.figures.network import depth_axis, groups
from revo_ray.report.figures.rates import exponent_range, exponents, shortened
from revo_ray.report.loaded_run import Run
from revo_ray.report.style import FAINT, MUTED, SCALE, log_ticks, looks, styled


@styled()
def plan_chart(run: Run) -> Chart | None:
    """Draw the best plan along the network, from the input at the top to the head."""
    best = run.best
    if best is None or not best.unit_lrs:
        return None
    values, count = exponents([best])[0], len(run.units)
    known = values[~np.isnan(values)]
    low, high = exponent_range(known)
    frozen_at = low - 0.35
    size = 5.2 + 0.075 * min(max(map(len, run.units)), 40), 1.1 + 0.185 * count
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    look = looks([run.method])[run.method]
    for index, (_, start, end) in enumerate(groups(run.units)):
        if index % 2 == 0:
            axes.axhspan(start - 0.5, end - 0.5, color=FAINT, alpha=0.4, lw=0, zorder=0)
    places = np.arange(count)
    trains = ~np.isnan(values)
    axes.hlines(places[trains], frozen_at, values[trains], color=look.colour, alpha=0.45, lw=1.4)
    axes.plot(values[trains], places[trains], look.marker, color=look.colour, ms=5)
    stay = places[~trains]
    axes.plot(np.full(len(stay), frozen_at), stay, "o", mfc="white", mec=MUTED, ms=5)
    axes.set_yticks(places, [shortened(unit) for unit in run.units], fontsize=8)
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_xlim(frozen_at - 0.2, high + 0.1)
    log_ticks(axes.xaxis, low, high)
    if not trains.all():
        names = [label.get_text() for label in axes.get_xticklabels()]
        axes.set_xticks([frozen_at, *axes.get_xticks()], ["frozen", *names])
    axes.set_xlabel("learning rate")
    axes.tick_params(axis="x", labeltop=True)
    axes.grid(axis="y", visible=False)
    uniform = len(known) > 1 and known.min() == known.max()
    caption = (
        f"Evaluation {best.evaluation}, from the input at the top to the new head. "
        "Bands: blocks or stages."
    )
    if len(stay):
        caption += f" Open circles: {len(stay)} of {count} units are frozen."
    caption += " All units that train have the same rate." if uniform else ""
    caption += " Its policy changes these rates while it trains." if best.plan.get("policy") else ""
    rows = [
        {"unit": unit, "position": index, "learning_rate": rate, "frozen": int(rate == 0)}
        for index, (unit, rate) in enumerate(zip(run.units, best.unit_lrs, strict=True))
    ]
    return Chart("best-plan", "The best plan along the network", caption, figure, rows)


@styled()
def plans_chart(runs: Sequence[Run]) -> Chart | None:
    """Draw the best plan of each search of one model as a row along the network."""
    shown = [run for run in runs if run.best is not None and run.best.unit_lrs]
    if not shown:
        return None
    bests = [run.best for run in shown if run.best is not None]
    values = exponents(bests)
    units = shown[0].units
    low, high = exponent_range(values[~np.isnan(values)])
    figure = Figure(figsize=(10.5, 1.5 + 0.2 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    colours = matplotlib.colormaps[SCALE].with_extremes(bad="#E4E4E4")
    known = np.ma.masked_invalid(values)
    x, y = (np.arange(count + 1) - 0.5 for count in (len(units), len(shown)))
    mesh = axes.pcolormesh(x, y, known, cmap=colours, vmin=low, vmax=high, rasterized=True)
    axes.set_facecolor("#E4E4E4")
    axes.set_yticks(range(len(shown)), _search_labels(shown), fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False)
    depth_axis(axes, units)
    bar = figure.colorbar(mesh, ax=axes, pad=0.01, fraction=0.03, aspect=18)
    log_ticks(bar.ax.yaxis, low, high)
    bar.set_label("learning rate (grey: frozen)")
    model = shown[0].outcome.identity.model
    rows = [
        {"search": run.outcome.name, **run.outcome.identity._asdict()}
        | {"unit": unit, "position": index, "learning_rate": rate}
        for run, best in zip(shown, bests, strict=True)
        for index, (unit, rate) in enumerate(zip(units, best.unit_lrs, strict=True))
    ]
    return Chart(
        f"best-plans-{slug(model)}",
        f"Best plans along {model}",
        "Learning rate of each unit in the best plan of every search, from the network's input on "
        "the left to its new head. Grey: frozen.",
        figure,
        rows,
    )


def _search_labels(runs: Sequence[Run]) -> list[str]:
    """Method and seed of each search, with data and fraction if they differ."""
    identities = [run.outcome.identity for run in runs]
    several = len({(i.data, i.fraction) for i in identities}) > 1
    places = [f" · {i.data} {100 * i.fraction:g} %" if several else "" for i in identities]
    return [f"{i.method}{p} · seed {i.seed}" for i, p in zip(identities, places, strict=True)]
