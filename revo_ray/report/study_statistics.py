"""Comparison and ranking of a study's methods by the test scores of their finished searches."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from revo_ray.errors import UserError
from revo_ray.objective import Metric
from revo_ray.report.outcomes import Outcomes, is_revo, methods_of, objectives_of
from revo_ray.report.paired_tests import Block, Comparison, compare
from revo_ray.report.ranking import Ranking, average_repeats, rank_methods
from revo_ray.report.scores import compared_scores


@dataclass(frozen=True)
class MetricStatistics:
    """Statistics of one test score.

    Attributes:
        metric: the score.
        comparisons: each other method compared with the reference.
        ranking: ranks with one block for each seed of each cell (model, data set, fraction).
        ranking_by_cell: ranks with one block for each cell: its mean over the seeds.
    """

    metric: Metric
    comparisons: list[Comparison]
    ranking: Ranking
    ranking_by_cell: Ranking


@dataclass(frozen=True)
class StudyStatistics:
    """Statistics of a study.

    Attributes:
        alpha: error probability up to which a difference counts as decided.
        reference: method that the others are compared with.
        rule: the rule that chose it.
        methods: methods with at least one finished search; `waiting` are the others.
        finished, searches: number of finished searches, and of all.
        seeds: fewest and most finished searches of one method in one cell.
        cells: number of cells (model × data set × fraction) with a finished search.
        metrics: statistics of each score.
    """

    alpha: float
    reference: str
    rule: str
    methods: list[str]
    waiting: list[str]
    finished: int
    searches: int
    seeds: tuple[int, int]
    cells: int
    metrics: list[MetricStatistics]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; no number is rounded."""
        values = asdict(self)
        for metric, own in zip(values["metrics"], self.metrics, strict=True):
            metric["metric"] = own.metric.name
        return values


def study_statistics(
    outcomes: Outcomes, reference: str | None = None, alpha: float = 0.05
) -> StudyStatistics:
    """Compare and rank the methods of a study by their finished searches.

    Args:
        outcomes: the searches.
        reference: method that the others are compared with. None means the first revo method that
            has a finished search, or else the first other method that has one.
        alpha: error probability of the tests and intervals.

    Raises:
        UserError: no method has the name of the reference, or alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise UserError(f"alpha is {alpha:g}; it must lie between 0 and 1")
    known = methods_of(outcomes)
    methods = methods_of(o for o in outcomes if o.done and o.test is not None)
    rule = "it was named with --reference"
    if reference is None:
        rule = "the first REVO method by name with a finished search, else the first other with one"
        reference = next(filter(is_revo, methods), (methods or known)[0])
    elif reference not in known:
        raise UserError(f"no method {reference!r} in this study; there are {', '.join(known)}")
    counts = Counter((o.cell, o.identity.method) for o in outcomes if o.done)
    metrics = compared_scores(objectives_of(outcomes))
    return StudyStatistics(
        alpha=alpha,
        reference=reference,
        rule=rule,
        methods=methods,
        waiting=[method for method in known if method not in methods],
        finished=sum(outcome.done for outcome in outcomes),
        searches=len(outcomes),
        seeds=(min(counts.values(), default=0), max(counts.values(), default=0)),
        cells=len({cell for cell, _ in counts}),
        metrics=[_metric_statistics(outcomes, m, methods, reference, alpha) for m in metrics],
    )


def _metric_statistics(
    outcomes: Outcomes, metric: Metric, methods: list[str], reference: str, alpha: float
) -> MetricStatistics:
    scores: dict[str, dict[Any, float]] = {method: {} for method in methods}
    for outcome in outcomes:
        if (value := outcome.score(metric)) is not None:
            scores[outcome.identity.method][outcome.block] = value
    blocks = {o.block: Block(o.cell, o.identity.data, o.identity.seed) for o in outcomes}
    cells = list(dict.fromkeys(block.cell for block in blocks.values()))
    return MetricStatistics(
        metric=metric,
        comparisons=compare(scores, blocks, reference, alpha=alpha),
        ranking=rank_methods(scores, [*blocks], alpha),
        ranking_by_cell=rank_methods(average_repeats(scores, [*blocks]), cells, alpha),
    )
