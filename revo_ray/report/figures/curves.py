"""Best so far: of one search against chance, and of a study's methods against each other."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray
from scipy import stats

from revo_ray.report.figures.chart import Chart
from revo_ray.report.loaded_run import Run
from revo_ray.report.style import MUTED, Look, looks, styled
from revo_ray.rundir.evaluation import Evaluation

FLOATS = NDArray[np.float64]
QUANTILES = (0.1, 0.5, 0.9)


def best_so_far(rows: Sequence[Evaluation]) -> FLOATS:
    """The least validation loss up to each row; infinite before the first that succeeded."""
    losses = [row.score[0] for row in rows]
    return np.minimum.accumulate(np.array(losses, dtype=np.float64))


def best_of_draws(losses: Sequence[float], quantile: float) -> FLOATS:
    """A quantile of the least of n losses, drawn from these without putting any back.

    That is the best so far of random search after n draws, over all orders in which its draws
    could have come: exact, no resampling. A failure is an infinite loss.

    Returns:
        For n = 1 … all of them.
    """
    ordered, count = np.sort(np.asarray(losses, dtype=np.float64)), len(losses)

    def chance(n: int, k: int) -> float:
        """That the least of n is among the k smallest: 1 − C(count − k, n) / C(count, n)."""
        if n > count - k:
            return 1.0
        parts = (count - k, 1), (count - n, 1), (count - k - n, -1), (count, -1)
        return 1 - math.exp(sum(sign * math.lgamma(number + 1) for number, sign in parts))

    ranks = [
        bisect_left(range(1, count), quantile - 1e-9, key=partial(chance, n))
        for n in range(1, count + 1)
    ]
    return ordered[ranks]


@styled()
def search_curve(run: Run, random: Run | None = None) -> Chart | None:
    """Best validation loss against evaluations, beside the best of as many uninformed draws.

    Args:
        run: the search.
        random: random search over the same genome, on the same images; None: the search's own
            uninformed proposals stand for it.
    """
    rows, best = run.rows, best_so_far(run.rows)
    if not np.isfinite(best).any():
        return None
    draws = random.rows if random else run.uninformed
    losses = [row.score[0] for row in draws]
    bands = {q: best_of_draws(losses, q) for q in QUANTILES if len(draws) >= 2}

    figure = Figure(figsize=(8.2, 4.1), layout="constrained")
    axes = figure.add_subplot()
    numbers = np.array([row.evaluation for row in rows]) + 1
    scored = [row for row in rows if row.scored]
    axes.plot(
        [row.evaluation + 1 for row in scored],
        [row.score[0] for row in scored],
        ".",
        color=MUTED,
        alpha=0.55,
        ms=4,
        label="each evaluation",
    )
    failed = [row.evaluation + 1 for row in rows if row.status in ("error", "diverged")]
    expected = bands.get(0.5, np.array([]))
    bottom, top = _limits([row.score[0] for row in scored], np.concatenate([best, expected]))
    if failed:
        axes.plot(
            failed, [top] * len(failed), "x", color=MUTED, ms=4, label="failed", clip_on=False
        )
    look = looks([run.method])[run.method]
    if bands and run.config.method.name != "random":
        name = "random search" if random else "uninformed draws"
        _draw_band(axes, bands, name, len(rows))
    axes.step(numbers, best, where="post", lw=2.2, label=run.method, **look.line)
    axes.set(xlabel="evaluations", ylabel="validation loss", ylim=(bottom, top), yscale="log")
    _plain_log(axes)
    axes.set_xlim(0.5, max(len(rows), 2) + 0.5)
    figure.legend(loc="outside upper left", ncols=5)
    return Chart(
        "best-so-far",
        "Best so far",
        f"The least validation loss after each evaluation. {_against(run, random, draws)}",
        figure,
        _curve_rows(rows, best, bands),
    )


@styled()
def study_curves(runs: Sequence[Run]) -> Chart | None:
    """Best validation loss against epochs spent, for each model, data set and fraction."""
    shown = [run for run in runs if run.best is not None]
    if not shown:
        return None
    cells = [(cell, list(of)) for cell, of in groupby(shown, key=lambda run: run.outcome.cell)]
    columns = min(2, len(cells))
    lines = -(-len(cells) // columns)
    figure = Figure(figsize=(4.6 * columns, 2.9 * lines + 0.7), layout="constrained")
    look = looks({run.method for run in runs})
    rows: list[dict[str, Any]] = []
    several = len({run.outcome.identity.model for run in shown}) > 1
    for index, (cell, members) in enumerate(cells):
        axes = figure.add_subplot(lines, columns, index + 1)
        model, data, fraction = cell
        axes.set_title((f"{model}, " if several else "") + f"{data}, {100 * fraction:g} %")
        ends = []
        for method in sorted({run.method for run in members}):
            own = [run for run in members if run.method == method]
            epochs, mean, count = _mean_curve(own)
            if len(mean) == 0:
                continue
            ends += [mean[0], mean[-1]]
            own_package = method.startswith("revo-")
            axes.step(epochs, mean, where="post", lw=2.2 if own_package else 1.4,
                      zorder=3 if own_package else 2, **look[method].line)  # fmt: skip
            axes.plot(epochs[-1:], mean[-1:], look[method].marker, color=look[method].colour, ms=5)
            place = {"model": model, "data": data, "fraction": fraction, "method": method}
            rows += [
                place | {"seeds": count, "epochs": int(e), "best_val_loss": float(m)}
                for e, m in zip(epochs, mean, strict=True)
            ]
        axes.set(xlabel="epochs spent", ylabel="validation loss", yscale="log")
        _plain_log(axes)
    if not rows:
        return None
    _method_legend(figure, look)
    return Chart(
        "best-so-far",
        "Best so far",
        "The least validation loss after so many epochs of training, mean over the seeds, from "
        "where each of them has one. Epochs and not evaluations, since methods that stop "
        "evaluations early make more of them for the same cost."
        + (" Random search is among the methods." if any(m.startswith("random") for m in look)
           else " No random search is among the methods."),
        figure,
        rows,
    )  # fmt: skip


def _mean_curve(runs: Sequence[Run]) -> tuple[FLOATS, FLOATS, int]:
    """Where a search of any seed improved, and the mean over the seeds of the best until then."""
    curves = []
    for run in runs:
        best = best_so_far(run.rows)
        spent = np.cumsum([row.epochs for row in run.rows])
        finite = np.isfinite(best)
        curves.append((spent[finite], best[finite]))
    start = max(spent[0] for spent, _ in curves)
    end = min(spent[-1] for spent, _ in curves)
    if start > end:
        return np.array([]), np.array([]), len(runs)
    grid = np.unique(np.concatenate([spent for spent, _ in curves]))
    grid = grid[(grid >= start) & (grid <= end)].astype(np.float64)
    values = [best[np.searchsorted(spent, grid, side="right") - 1] for spent, best in curves]
    return grid, np.mean(values, axis=0), len(runs)


def _draw_band(axes: Axes, bands: dict[float, FLOATS], name: str, total: int) -> None:
    look = looks(["random"])["random"]
    low, middle, high = (bands[q][:total] for q in QUANTILES)
    n = np.arange(1, len(middle) + 1)
    shown = np.isfinite(high)
    axes.fill_between(n[shown], low[shown], high[shown], color=look.colour, alpha=0.18, lw=0,
                      step="post", label=f"{name}, 10–90 %")  # fmt: skip
    shown = np.isfinite(middle)
    axes.step(n[shown], middle[shown], where="post", color=look.colour, lw=1.6,
              label=f"{name}, median")  # fmt: skip
    if shown.any() and len(middle) < total:
        axes.plot([n[-1], total], [middle[-1]] * 2, ":", color=look.colour, lw=1.4)


def _against(run: Run, random: Run | None, draws: Sequence[Evaluation]) -> str:
    """What the grey band is, and how far it can be trusted."""
    if run.config.method.name == "random":
        return "This search is random itself: its proposals do not learn from each other."
    if len(draws) < 2:
        return "It has no uninformed proposals to compare it with: add a random search to a study."
    band = (
        "The grey line and band are the median and the 10–90 % range of the best of as many draws, "
        "over all orders in which they could have come"
    )
    if random is not None:
        return (
            f"{band}: the draws of {random.outcome.name}, random search on the same images. The "
            "band closes at the end, where every order has used all of them."
        )
    text = (
        f"No random search stands beside this one, so {band[0].lower()}{band[1:]}: the draws are "
        f"the {len(draws)} proposals that were made before anything had been learnt (the first "
        "generation). They come from the distribution that the search starts with, and end where "
        "they are used up; more would have gone on falling, by how much they cannot tell, so the "
        "dotted line is no forecast."
    )
    known = {row.evaluation for row in draws}
    first = [row.score[0] for row in draws]
    later = [r.score[0] for r in run.rows if r.evaluation not in known and r.status != "cached"]
    if len(later) < 5:
        return text
    test = stats.mannwhitneyu(later, first, alternative="less")
    # U counts the pairs in which the later one's loss is greater.
    share = 1 - test.statistic / (len(later) * len(first))
    p = "p < 0.001" if test.pvalue < 0.001 else f"p = {test.pvalue:.2g}"
    return (
        f"{text} A later proposal has a lower loss than one of those in {100 * share:.0f} % of all "
        f"pairs (one-sided Mann–Whitney {p}; 50 % would be chance)."
    )


def _curve_rows(
    rows: Sequence[Evaluation], best: FLOATS, bands: dict[float, FLOATS]
) -> list[dict[str, Any]]:
    epochs = images = 0
    seconds = 0.0
    found = []
    for index, row in enumerate(rows):
        epochs, images, seconds = epochs + row.epochs, images + row.images, seconds + row.seconds
        values: dict[str, Any] = {
            "evaluation": row.evaluation,
            "status": row.status,
            "val_loss": row.val_loss,
            "best_val_loss": _finite(best[index]),
            "epochs": epochs,
            "images": images,
            "device_seconds": seconds,
        }
        for q, name in zip(QUANTILES, ("low", "median", "high"), strict=True):
            band = bands.get(q)
            known = band is not None and index < len(band)
            values[f"uninformed_{name}"] = (
                _finite(band[index]) if known and band is not None else None
            )
        found.append(values)
    return found


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _limits(losses: Sequence[float], curves: FLOATS) -> tuple[float, float]:
    """A range around the curves that a few evaluations which went far wrong do not stretch."""
    drawn = curves[np.isfinite(curves)]
    low = max(float(drawn.min()), 1e-12)
    high = max(float(np.quantile(losses, 0.95)), float(drawn.max()), low * 1.2)
    return low / (high / low) ** 0.08, high * (high / low) ** 0.08


def _plain_log(axes: Axes) -> None:
    """A handful of round losses as plain numbers."""
    low, high = axes.get_ylim()
    spans_decades = high / max(low, 1e-12) > 10
    locator = LogLocator(subs=(1.0, 2.0, 5.0)) if spans_decades else MaxNLocator(6)
    axes.yaxis.set_major_locator(FixedLocator(locator.tick_values(low, high)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low, high)


def _method_legend(figure: Figure, look: dict[str, Look]) -> None:
    handles = [
        Line2D([], [], marker=own.marker, ms=5, label=method, **own.line)
        for method, own in look.items()
    ]
    columns = min(4, len(handles)) if max(map(len, look)) < 24 else 2
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
