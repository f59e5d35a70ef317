"""Selection and format of the scores that a report shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from revo_ray.objective import LOSS, METRICS, Metric
from revo_ray.words import number_text

AUC, ACCURACY = METRICS["auc"], METRICS["accuracy"]


def compared_scores(objectives: Collection[Metric]) -> list[Metric]:
    """Test scores by which methods are compared; more is better.

    AUC and accuracy, as in the paper, and the objectives other than the loss.
    """
    others = [metric for metric in objectives if is_share(metric)]
    return [AUC, ACCURACY, *_ordered(others, (AUC, ACCURACY))]


def optimism_scores(objectives: Collection[Metric]) -> list[Metric]:
    """Scores whose validation and test values are compared: loss, accuracy, the objectives."""
    return [LOSS, ACCURACY, *_ordered(objectives, (LOSS, ACCURACY))]


def headline_scores(objective: Metric) -> list[Metric]:
    """Scores at the head of a search's page: loss, accuracy, AUC and the objective."""
    return _ordered({LOSS, ACCURACY, AUC, objective}, ())


def drawn_score(objective: Metric) -> Metric:
    """The score that figures of validation and test draw: the objective; for the loss, accuracy."""
    return objective if is_share(objective) else ACCURACY


def is_share(metric: Metric) -> bool:
    """Whether a metric lies between 0 and 1, more is better, and it is shown in percent."""
    return metric.mode == "max"


def score_text(metric: Metric, value: float | None) -> str:
    """A score as readers see it: `0.1234` for the loss, `87.1 %` for the others."""
    if value is None or not is_share(metric):
        return number_text(value)
    return f"{100 * value:.1f} %"


def interval_text(metric: Metric, interval: tuple[float, float] | None) -> str:
    """An interval of a score as readers see it: `84.2–90.1 %`; a dash without one."""
    if interval is None:
        return number_text(None)
    low, high = (score_text(metric, end) for end in interval)
    return f"{low.removesuffix(' %')}–{high}"


def objectives_text(objectives: Collection[Metric]) -> str:
    """Titles of the objectives: `loss`, or `loss or balanced accuracy` if searches differ."""
    return " or ".join(metric.title for metric in _ordered(objectives, ()))


def _ordered(metrics: Collection[Metric], without: Sequence[Metric]) -> list[Metric]:
    """The metrics in the usual order, each once."""
    return [m for m in METRICS.values() if m in metrics and m not in without]
