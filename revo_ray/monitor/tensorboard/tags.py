"""Tags of the curves, and their layout on TensorBoard's page of custom scalars."""

from __future__ import annotations

from tensorboardX.proto.layout_pb2 import Category, Chart, Layout, MultilineChartContent

from revo_ray.objective import METRICS, Metric

TRAIN_LOSS = "train/loss"
FROZEN = "evaluations/frozen_fraction"
FAILURES = "evaluations/failures_so_far"
SIGMA = "distribution/sigma"
MEAN = "distribution/mean"
"""Mean of all variables, each by its place on its scale from 0 to 1."""
MEANS = "distribution/means"
MEAN_OF = "distribution/mean_of"
ALL_UNITS = "rates/log10_all_units"
UNIT = "rates_log10_by_unit"
BEST = "best"

COSTS = {"evaluations": "evaluations", "epochs": "epochs", "device_seconds": "device-seconds"}
"""Costs that the best so far is shown by, with their names for people."""

FEW = 16
"""At most so many variables have a curve of their mean, or variables and units a column, each."""


def validation(metric: Metric) -> str:
    """The tag of a metric in an evaluation's own run, by epoch."""
    return f"validation/{metric.name}"


def each(metric: Metric) -> str:
    """The tag of a metric of every evaluation, by evaluation."""
    return f"evaluations/{metric.name}"


def best(metric: Metric, cost: str) -> str:
    """The tag of a metric of the best evaluation so far, by what was spent until then."""
    return f"{BEST}/{metric.name}_by_{cost}"


def layout(objective: Metric, variables: int, sweep: bool) -> Layout:
    """Lay out the page of custom scalars.

    Args:
        objective: the metric to show first.
        variables: number of variables of the search distribution; 0 if the method has none.
        sweep: generation 0 was not drawn from it.
    """
    metrics = sorted(METRICS.values(), key=lambda metric: metric is not objective)
    means = "Mean of all genes, each on its scale from 0 to 1"
    distribution = [_chart("Sigma", SIGMA), _chart(means, MEAN)]
    if variables <= FEW:
        distribution.append(_chart("Mean of each", f"{MEAN_OF}/.*"))
    title = f"{objective.title[0].upper()}{objective.title[1:]} of each, and the best"
    search = [_chart(title, each(objective), best(objective, "evaluations"))]
    search += [_chart("Fraction of units frozen", FROZEN), _chart("Failures so far", FAILURES)]
    training = [_chart("Training loss", TRAIN_LOSS)]
    training += [_chart(f"Validation {metric.title}", validation(metric)) for metric in metrics]
    title = "The search distribution, by generation" + (", after the sweep (0)" if sweep else "")
    drawn_from = Category(title=title, chart=distribution)
    by_evaluations, *by_others = (_best_by(cost, metrics) for cost in COSTS)
    categories = [
        by_evaluations,
        Category(title="The search, evaluation by evaluation", chart=search),
        *([drawn_from] if variables else []),
        *by_others,
        Category(title="Training, by epoch, of the chosen runs", chart=training, closed=True),
    ]
    return Layout(category=categories)


def _best_by(cost: str, metrics: list[Metric]) -> Category:
    by = f"by {COSTS[cost]}"
    charts = [_chart(f"Validation {metric.title} {by}", best(metric, cost)) for metric in metrics]
    return Category(title=f"Best so far, {by}", chart=charts)


def _chart(title: str, *tags: str) -> Chart:
    """A chart of all curves with these tags, which are regular expressions."""
    return Chart(title=title, multiline=MultilineChartContent(tag=[f"^{tag}$" for tag in tags]))
