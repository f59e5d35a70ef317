"""Validation against test: the best of many evaluations is partly luck."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from revo_ray.objective import LOSS
from revo_ray.report.figures.chart import Chart
from revo_ray.report.figures.left_out import left_out_text
from revo_ray.report.loaded_run import Run
from revo_ray.report.outcomes import Outcomes, objectives_of
from revo_ray.report.scores import drawn_score
from revo_ray.report.style import BLUE, INK, MUTED, VERMILLION, looks, styled


@styled()
def chosen_chart(run: Run) -> Chart | None:
    """Draw the chosen evaluation's validation and test score among all validation scores.

    None without a test score, or with fewer than three evaluations.
    """
    metric, best, tested = drawn_score(run.objective), run.best, run.outcome.test
    rows = [r for r in run.rows if r.status == "ok" and run.objective.counts(r)]
    known = [(r, v) for r in rows if (v := metric.value(r.scores)) is not None]
    if len(known) < 3 or best is None or tested is None:
        return None
    chosen, test = metric.value(best.scores), metric.value(tested)
    if chosen is None or test is None:
        return None
    values = np.array([value for _, value in known])
    figure = Figure(figsize=(8.2, 2.9), layout="constrained")
    axes = figure.add_subplot()
    low, high = min(values.min(), test), max(values.max(), test)
    bins = np.linspace(low, high if high > low else low + 0.01, 25)
    axes.hist(100 * values, bins=list(100 * bins), color=MUTED, alpha=0.45, label="all evaluations")
    top = axes.get_ylim()[1] * 1.1
    for value, colour, dash, name in (
        (chosen, BLUE, "-", "chosen, validation"),
        (test, VERMILLION, "--", "chosen, test"),
    ):
        label = f"{name}: {100 * value:.1f} %"
        axes.plot([100 * value] * 2, [0, top], color=colour, lw=2.2, ls=dash, label=label)
    axes.set(xlabel=f"{metric.title}, %", ylabel="evaluations", ylim=(0, top))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper left", ncols=3)
    tests = {f"test_{m.name}": m.value(tested) for m in (metric, LOSS)}
    table = [
        {"evaluation": row.evaluation}
        | {m.column: m.value(row.scores) for m in (metric, LOSS)}
        | {"chosen": int(row is best)}
        | (tests if row is best else dict.fromkeys(tests))
        for row, _ in known
    ]
    return Chart(
        "validation-test",
        "Validation against test",
        f"Validation {metric.title} of {len(known)} evaluations. The best of many is partly luck: "
        "its validation score is optimistic, its test score is not. "
        f"{left_out_text([run], [row for row, _ in known])}".strip(),
        figure,
        table,
    )


@styled()
def optimism_chart(outcomes: Outcomes) -> Chart | None:
    """Draw validation against test score of the best model of each finished search.

    None with fewer than two such searches.
    """
    objectives = objectives_of(outcomes)
    metric = drawn_score(objectives.pop() if len(objectives) == 1 else LOSS)
    known = [
        (o, v, t)
        for o in outcomes
        if o.validation
        and (v := metric.value(o.validation)) is not None
        and (t := o.score(metric)) is not None
    ]
    if len(known) < 2:
        return None
    look = looks({outcome.identity.method for outcome in outcomes})
    figure = Figure(figsize=(6.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    ends = [100 * value for _, v, t in known for value in (v, t)]
    low, high = min(ends), max(ends)
    margin = max(1.0, 0.05 * (high - low))
    limits = (low - margin, high + margin)
    axes.axline((low, low), slope=1, color=INK, lw=0.9, ls=":")
    for method, own in look.items():
        mine = [(100 * v, 100 * t) for o, v, t in known if o.identity.method == method]
        if mine:
            face = "none" if own.dash != "-" else own.colour
            axes.plot(*zip(*mine, strict=True), own.marker, color=own.colour, mfc=face, ms=6,
                      label=method, ls="", alpha=0.85)  # fmt: skip
    axes.set(
        xlabel=f"validation {metric.title}, %",
        ylabel=f"test {metric.title}, %",
        xlim=limits,
        ylim=limits,
        aspect="equal",
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    mean = math.fsum(100 * (v - t) for _, v, t in known) / len(known)
    rows = [
        {"search": o.name, **o.identity._asdict(), metric.column: v, f"test_{metric.name}": t}
        for o, v, t in known
    ]
    return Chart(
        "validation-test",
        "Validation against test",
        f"Best model of each finished search. Below the dotted line, validation {metric.title} is "
        f"higher than test; on average it is {abs(mean):.1f} points "
        f"{'above' if mean > 0 else 'below'}.",
        figure,
        rows,
    )
