"""Validation against test: how much the best of many flatters itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from revo_ray.report.figures.chart import Chart
from revo_ray.report.loaded_run import Run
from revo_ray.report.outcomes import SearchOutcome
from revo_ray.report.style import BLUE, INK, MUTED, VERMILLION, looks, styled


@styled()
def chosen_chart(run: Run) -> Chart | None:
    """Where the chosen evaluation lies among all validation scores, and where its test score."""
    rows = [r for r in run.rows if r.scored and r.val_accuracy is not None and r.status == "ok"]
    test, best = run.outcome.test, run.best
    if len(rows) < 3 or best is None or test is None or test.accuracy is None:
        return None
    assert best.val_accuracy is not None
    values = np.array([row.val_accuracy for row in rows], dtype=np.float64)
    figure = Figure(figsize=(8.2, 2.9), layout="constrained")
    axes = figure.add_subplot()
    low, high = min(values.min(), test.accuracy), max(values.max(), test.accuracy)
    bins = np.linspace(low, high if high > low else low + 0.01, 25)
    axes.hist(100 * values, bins=list(100 * bins), color=MUTED, alpha=0.45, label="all evaluations")
    top = axes.get_ylim()[1] * 1.1
    for value, colour, name in (
        (best.val_accuracy, BLUE, "chosen, validation"),
        (test.accuracy, VERMILLION, "chosen, test"),
    ):
        label = f"{name}: {100 * value:.1f} %"
        dash = "-" if colour == BLUE else "--"
        axes.plot([100 * value] * 2, [0, top], color=colour, lw=2.2, ls=dash, label=label)
    axes.set(xlabel="accuracy, %", ylabel="evaluations", ylim=(0, top))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper left", ncols=3)
    table = [
        {"evaluation": r.evaluation, "val_accuracy": r.val_accuracy, "val_loss": r.val_loss}
        | {"chosen": int(r is best)}
        | {"test_accuracy": test.accuracy if r is best else None}
        | {"test_loss": test.loss if r is best else None}
        for r in rows
    ]
    return Chart(
        "validation-test",
        "Validation against test",
        f"Validation accuracy of {len(rows)} evaluations; the one with the least validation loss "
        "was chosen and tested once. Being the best of many on the same validation images is "
        "partly luck, so its validation score flatters it; the test score does not.",
        figure,
        table,
    )


@styled()
def optimism_chart(outcomes: Sequence[SearchOutcome]) -> Chart | None:
    """Validation and test accuracy of the best model of every finished search."""
    points = [
        (outcome, outcome.validation.accuracy, outcome.test.accuracy)
        for outcome in outcomes
        if outcome.done and outcome.validation and outcome.test
    ]
    known = [(o, v, t) for o, v, t in points if v is not None and t is not None]
    if len(known) < 2:
        return None
    look = looks({outcome.identity.method for outcome in outcomes})
    figure = Figure(figsize=(6.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    ends = [value for _, v, t in known for value in (v, t)]
    low, high = (100 * value for value in (min(ends), max(ends)))
    margin = max(1.0, 0.05 * (high - low))
    axes.axline((low, low), slope=1, color=INK, lw=0.9, ls=":")
    for method, own in look.items():
        mine = [(100 * v, 100 * t) for o, v, t in known if o.identity.method == method]
        if mine:
            face = "none" if own.dash != "-" else own.colour
            axes.plot(*zip(*mine, strict=True), own.marker, color=own.colour, mfc=face, ms=6,
                      label=method, ls="", alpha=0.85)  # fmt: skip
    axes.set(
        xlabel="validation accuracy, %",
        ylabel="test accuracy, %",
        xlim=(low - margin, high + margin),
        ylim=(low - margin, high + margin),
        aspect="equal",
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    gaps = [100 * (v - t) for _, v, t in known]
    mean = math.fsum(gaps) / len(gaps)
    rows = [
        {"search": o.name, **o.identity._asdict(), "val_accuracy": v, "test_accuracy": t}
        for o, v, t in known
    ]
    side = "above" if mean > 0 else "below"
    return Chart(
        "validation-test",
        "Validation against test",
        "Accuracy of the best model of every finished search. Below the dotted line validation "
        "flatters: the best of many on the same images is partly luck. Here it is "
        f"{abs(mean):.1f} points {side} the test's on average.",
        figure,
        rows,
    )
