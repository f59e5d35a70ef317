"""What the finished searches of a study say about its methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from revo_ray.errors import UserError
from revo_ray.report.outcomes import METRICS, Metric, SearchOutcome, is_own, methods_of
from revo_ray.report.statistics import (
    Comparison,
    Ranking,
    average_repeats,
    compare,
    rank_methods,
)


@dataclass(frozen=True)
class MetricStatistics:
    """What is known of one test score.

    Attributes:
        metric: the score.
        comparisons: of every other method with the reference.
        ranking: a block for each seed of each cell (model, data set, fraction).
        ranking_by_cell: a block for each cell: its mean over the seeds.
    """

    metric: Metric
    comparisons: list[Comparison]
    ranking: Ranking
    ranking_by_cell: Ranking


@dataclass(frozen=True)
class StudyStatistics:
    """What the finished searches of a study say about its methods.

    Attributes:
        alpha: an error probability up to which a difference is called decided.
        reference: the method that the others are compared with.
        methods: with at least one finished search; `waiting` are the others.
        finished, searches: how many searches are done, and how many there are.
        seeds: of finished searches, the least and the most in a cell and method.
        cells: model × data set × fraction, with a finished search.
        metrics: one for each score.
    """

    alpha: float
    reference: str
    methods: list[str]
    waiting: list[str]
    finished: int
    searches: int
    seeds: tuple[int, int]
    cells: int
    metrics: list[MetricStatistics]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; nothing is rounded."""
        values = asdict(self)
        for metric, own in zip(values["metrics"], self.metrics, strict=True):
            metric["metric"] = own.metric.key
        return values


def study_statistics(
    outcomes: Sequence[SearchOutcome], reference: str | None = None, alpha: float = 0.05
) -> StudyStatistics:
    """Compare and rank the methods of a study by their finished searches.

    Args:
        outcomes: the searches.
        reference: the method that the others are compared with; None: the first of this
            package's that has a finished search, or else the first.
        alpha: of the tests and intervals.

    Raises:
        UserError: no method is called like the reference, or alpha is no probability.
    """
    if not 0 < alpha < 1:
        raise UserError(f"alpha is {alpha:g}; it must lie between 0 and 1")
    known = methods_of(outcomes)
    methods = methods_of(o for o in outcomes if o.done and o.test is not None)
    if reference is None:
        reference = next((m for pool in (methods, known) for m in pool if is_own(m)), known[0])
    elif reference not in known:
        raise UserError(f"no method {reference!r} in this study; there are {', '.join(known)}")
    counts = Counter((o.cell, o.identity.method) for o in outcomes if o.done)
    return StudyStatistics(
        alpha=alpha,
        reference=reference,
        methods=methods,
        waiting=[method for method in known if method not in methods],
        finished=sum(outcome.done for outcome in outcomes),
        searches=len(outcomes),
        seeds=(min(counts.values(), default=0), max(counts.values(), default=0)),
        cells=len({cell for cell, _ in counts}),
        metrics=[_metric_statistics(outcomes, m, methods, reference, alpha) for m in METRICS],
    )


def _metric_statistics(
    outcomes: Sequence[SearchOutcome],
    metric: Metric,
    methods: list[str],
    reference: str,
    alpha: float,
) -> MetricStatistics:
    scores: dict[str, dict[Any, float]] = {method: {} for method in methods}
    for outcome in outcomes:
        if (value := outcome.score(metric)) is not None:
            scores[outcome.identity.method][outcome.block] = value
    blocks = list(dict.fromkeys(outcome.block for outcome in outcomes))
    cells = list(dict.fromkeys(outcome.cell for outcome in outcomes))
    return MetricStatistics(
        metric=metric,
        comparisons=compare(scores, reference, alpha=alpha),
        ranking=rank_methods(scores, blocks, alpha),
        ranking_by_cell=rank_methods(average_repeats(scores, blocks), cells, alpha),
    )
