"""The best-so-far curve of one search, beside the best of as many uninformed draws."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from scipy import stats

from revo_ray.objective import Metric
from revo_ray.report.figures.chart import FLOATS, Chart
from revo_ray.report.figures.left_out import left_out_text
from revo_ray.report.loaded_run import Run
from revo_ray.report.scores import is_share
from revo_ray.report.style import MUTED, VERMILLION, looks, styled
from revo_ray.rundir import Evaluation

Bands = dict[str, FLOATS]
"""Curves `low`, `median` and `high` of the best of n draws; empty with fewer than two draws."""

QUANTILES = (0.1, 0.5, 0.9)
LEAST = 1e-6
"""Smallest loss that a log scale shows."""


def best_so_far(rows: Sequence[Evaluation], objective: Metric) -> FLOATS:
    """The objective of the best row up to each row; NaN before the first success."""
    best: Evaluation | None = None
    values = []
    for row in rows:
        if objective.is_better(row, best):
            best = row
        values.append(None if best is None else objective.value(best.scores))
    return np.array(values, dtype=np.float64)  # None becomes NaN


def best_of_draws(values: Sequence[float], quantile: float) -> FLOATS:
    """A quantile of the best of n values, drawn without replacement.

    This is the best so far of random search after n draws, over all orders of its draws: exact,
    without resampling.

    Args:
        values: values of all draws, best first; NaN for failures, at the end.
        quantile: 0 for the best order, 1 for the worst.

    Returns:
        The quantile for n = 1 … all.
    """
    ordered, count = np.asarray(values, dtype=np.float64), len(values)

    def chance(n: int, k: int) -> float:
        """Chance that n draws hold one of the k best: 1 − C(count − k, n) / C(count, n)."""
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
    """Draw the best value of the objective against evaluations; None if none succeeded.

    Args:
        run: the search.
        random: random search over the same genome and images. Without it, the search's own
            uninformed proposals are the draws, unless they are a sweep.
    """
    rows, objective = run.rows, run.objective
    best = best_so_far(rows, objective)
    if not np.isfinite(best).any():
        return None
    draws = random.rows if random else [] if run.swept else run.uninformed
    bands = _bands(draws, objective)
    succeeded = [row for row in rows if objective.counts(row)]
    failed = [row.evaluation for row in rows if row.status in ("error", "diverged")]
    values = np.array([objective.value(row.scores) for row in succeeded], dtype=np.float64)
    curves = np.concatenate([best, bands.get("median", np.array([]))])
    least = least_shown(objective, np.concatenate([values, curves]))
    shown, best_shown = np.maximum(values, least), np.maximum(best, least)
    drawn, bands = bands, {name: np.maximum(own, least) for name, own in bands.items()}
    bottom, top = _limits(objective, shown, np.maximum(curves, least))

    figure = Figure(figsize=(8.2, 4.1), layout="constrained")
    axes = figure.add_subplot()
    numbers = [row.evaluation for row in succeeded]
    axes.plot(numbers, shown, ".", color=MUTED, alpha=0.55, ms=4, label="each evaluation")
    if failed:
        edge = [bottom if is_share(objective) else top] * len(failed)
        axes.plot(failed, edge, "x", color=MUTED, ms=4, label="failed", clip_on=False)
    look = looks([run.method])[run.method]
    if bands and run.config.method.name != "random":
        name = "random search" if random else "uninformed draws"
        _draw_bands(axes, bands, name, len(rows))
    if run.swept:
        _draw_sweep(axes, run, best_shown, least)
    numbers = [row.evaluation for row in rows]
    axes.step(numbers, best_shown, where="post", lw=2.2, label="best so far", **look.line)
    _draw_least(axes, succeeded, values, least)
    axes.set(xlabel="evaluation", ylim=(bottom, top))
    style_values(axes, objective)
    axes.set_xlim(-0.5, max(len(rows), 2) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _draw_worse(axes, succeeded, shown, bottom, top)
    figure.legend(loc="outside upper left", ncols=4)
    parts = (_sweep_text(run), _comparison_text(run, random, draws), _unseen_text(run, succeeded))
    caption = " ".join(filter(None, parts))
    return Chart("best-so-far", "Best so far", caption, figure, _curve_rows(run, best, drawn))


def style_values(axes: Axes, objective: Metric) -> None:
    """Label an axis of the objective; a loss is drawn on a log scale with a few round values."""
    axes.set_ylabel(f"validation {objective.title}")
    if is_share(objective):
        return
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    spread = high / max(low, LEAST / 10)
    subs = (1.0, 2.0, 5.0) if spread < 1000 else (1.0,)
    locator = LogLocator(subs=subs, numticks=9) if spread > 10 else MaxNLocator(6)
    axes.yaxis.set_major_locator(FixedLocator(locator.tick_values(low, high)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low, high)


def least_shown(objective: Metric, values: FLOATS) -> float:
    """The value at which smaller ones are drawn: a log scale has no place for a loss of 0.

    It is half of the smallest loss above 0, and at least `LEAST`.
    """
    if is_share(objective):
        return -math.inf
    positive = values[np.isfinite(values) & (values > 0)]
    half = float(positive.min()) / 2 if len(positive) else LEAST
    return max(half, LEAST) if (values <= max(half, LEAST)).any() else half


def _draw_least(axes: Axes, rows: Sequence[Evaluation], values: FLOATS, least: float) -> None:
    """Mark the evaluations that are too good for a log scale, with the best of their values."""
    numbers = [row.evaluation for row, value in zip(rows, values, strict=True) if value <= least]
    if numbers:
        text = f"best, {values.min():.2g}"
        axes.plot(numbers, [least] * len(numbers), "*", color=VERMILLION, ms=8, clip_on=False,
                  zorder=4, label=text)  # fmt: skip


def _bands(draws: Sequence[Evaluation], objective: Metric) -> Bands:
    if len(draws) < 2:
        return {}
    ordered = sorted(draws, key=objective.rank_of)
    found = [objective.value(row.scores) if objective.counts(row) else None for row in ordered]
    values = np.array(found, dtype=np.float64)
    quantiles = QUANTILES[::-1] if is_share(objective) else QUANTILES
    curves = (best_of_draws(values.tolist(), quantile) for quantile in quantiles)
    return dict(zip(("low", "median", "high"), curves, strict=True))


def _draw_worse(
    axes: Axes, rows: Sequence[Evaluation], values: FLOATS, bottom: float, top: float
) -> None:
    """Mark the evaluations that are worse than the axis shows at its edge."""
    for beyond, edge, marker in ((values > top, top, "^"), (values < bottom, bottom, "v")):
        numbers = [row.evaluation for row, out in zip(rows, beyond, strict=True) if out]
        if numbers:
            axes.plot(numbers, [edge] * len(numbers), marker, color=MUTED, ms=4, clip_on=False,
                      label=f"{len(numbers)} worse than shown")  # fmt: skip


def _unseen_text(run: Run, succeeded: Sequence[Evaluation]) -> str:
    """Count the evaluations that are no mark in the figure."""
    failed = [row for row in run.rows if row.status in ("error", "diverged")]
    return left_out_text([run], [*succeeded, *failed])


def _draw_sweep(axes: Axes, run: Run, best: FLOATS, least: float) -> None:
    """Mark the evaluations of the sweep, and extend the best of them over the others."""
    count, objective = len(run.swept), run.objective
    shown = [row for row in run.swept if objective.counts(row)]
    numbers = [row.evaluation for row in shown]
    values = np.array([objective.value(row.scores) for row in shown], dtype=np.float64)
    axes.plot(numbers, np.maximum(values, least), "o", mec=MUTED, mfc="white", ms=5, label="sweep")
    if np.isfinite(best[count - 1]):
        axes.plot([count - 1, len(best) - 1], [best[count - 1]] * 2, ":", color=MUTED, lw=1.6,
                  label="best of the sweep")  # fmt: skip


def _draw_bands(axes: Axes, bands: Bands, name: str, total: int) -> None:
    look = looks(["random"])["random"]
    low, middle, high = (curve[:total] for curve in bands.values())
    n = np.arange(len(middle))  # evaluation n is draw n + 1
    shown = np.isfinite(low) & np.isfinite(high)
    axes.fill_between(n[shown], low[shown], high[shown], color=look.colour, alpha=0.18, lw=0,
                      step="post", label=f"{name}, 10–90 %")  # fmt: skip
    shown = np.isfinite(middle)
    axes.step(n[shown], middle[shown], where="post", color=look.colour, lw=1.6,
              label=f"{name}, median")  # fmt: skip
    if shown.any() and len(middle) < total:
        axes.plot([n[-1], total - 1], [middle[-1]] * 2, ":", color=look.colour, lw=1.4)


def _sweep_text(run: Run) -> str:
    if not run.swept:
        return ""
    count = min(run.config.search.population, run.config.search.evaluations)
    return f"Circles: the sweep, the first {count} evaluations, with one rate for all units."


def _comparison_text(run: Run, random: Run | None, draws: Sequence[Evaluation]) -> str:
    """Meaning and limits of the grey line and band."""
    if run.config.method.name == "random":
        return "This search is random itself."
    if len(draws) < 2:
        return "A study with a random search would show one beside it."
    source = "proposals from before it had learnt"
    if random is not None:
        source = f"draws of {random.outcome.name}"
    band = f"Grey: the best of as many of the {len(draws)} {source}, median and 10–90 %."
    return band if random is not None else band + _later_text(run, draws)


def _later_text(run: Run, draws: Sequence[Evaluation]) -> str:
    """Say how often a later proposal beats an uninformed one, with a test; empty for few rows."""
    known = {row.evaluation for row in draws}
    later = [r for r in run.rows if r.evaluation not in known and r.status != "cached"]
    if len(later) < 5:
        return ""
    # The first number of a rank is the cost; it is infinite for a failure.
    costs, first = ([run.objective.rank_of(row)[0] for row in part] for part in (later, draws))
    test = stats.mannwhitneyu(costs, first, alternative="less")
    # U counts the pairs in which the later proposal costs more.
    share = 1 - test.statistic / (len(costs) * len(first))
    p = "p < 0.001" if test.pvalue < 0.001 else f"p = {test.pvalue:.2g}"
    return f" Later proposals beat these in {100 * share:.0f} % of pairs (Mann–Whitney {p})."


def _curve_rows(run: Run, best: FLOATS, bands: Bands) -> list[dict[str, Any]]:
    column = run.objective.column
    epochs = images = 0
    seconds = 0.0
    found = []
    for index, row in enumerate(run.rows):
        epochs, images, seconds = epochs + row.epochs, images + row.images, seconds + row.seconds
        values: dict[str, Any] = {
            "evaluation": row.evaluation,
            "status": row.status,
            column: run.objective.value(row.scores),
            f"best_{column}": best[index],
            "epochs": epochs,
            "images": images,
            "device_seconds": seconds,
        }
        for name in ("low", "median", "high"):
            band = bands.get(name, ())
            values[f"uninformed_{name}"] = band[index] if index < len(band) else None
        found.append(values)
    return found


def _limits(objective: Metric, values: FLOATS, curves: FLOATS) -> tuple[float, float]:
    """Limits around the curves; the worst twentieth of the evaluations does not stretch them."""
    drawn = curves[np.isfinite(curves)]
    if is_share(objective):
        low = min(float(np.quantile(values, 0.05)), float(drawn.min()))
        high = max(float(drawn.max()), low + 0.01)
        return low - 0.08 * (high - low), high + 0.08 * (high - low)
    low = float(drawn.min())
    high = max(float(np.quantile(values, 0.95)), float(drawn.max()), low * 1.2)
    return low / (high / low) ** 0.08, high * (high / low) ** 0.08
