"""The objective of a search: the metrics of a result, their directions, and which result is better.

A metric has a name in `MetricName`, a field in `Scores` and an entry in `METRICS`; other modules
add its sum (`finetune.training.metrics`), its columns (`rundir.evaluation`) and its interval
(`combine.explanation`). All else follows: the keys of `search.objective`, the value that a searcher
is told, and the order of results. No other module compares metrics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Protocol, TypeVar, get_args

MetricName = Literal["loss", "balanced_accuracy", "accuracy", "auc", "macro_f1"]
"""Values of `search.objective`."""

Rank = tuple[float, float, int]
"""Cost, loss and evaluation of a result; the least is the best."""

LOSS_LIMIT = 1e6
"""Mean losses above this count as diverged: normalisation can keep ruined weights finite."""


@dataclass(frozen=True)
class Scores:
    """Metrics of one set of images; None where a metric is not defined or was not measured.

    Attributes:
        loss: mean cross-entropy in nats.
        accuracy: share of the images that were labelled correctly, 0 … 1.
        auc: area under the ROC curve, one class against the rest, mean over the classes, 0 … 1.
        balanced_accuracy: accuracy of each class, mean over the classes, 0 … 1.
        macro_f1: F1 of each class, mean over the classes, 0 … 1.
    """

    loss: float | None = None
    accuracy: float | None = None
    auc: float | None = None
    balanced_accuracy: float | None = None
    macro_f1: float | None = None

    @property
    def finite(self) -> Scores:
        """The same scores with None for values that JSON does not have."""
        return Scores(**{name: _finite(value) for name, value in asdict(self).items()})

    @property
    def columns(self) -> dict[str, float | None]:
        """The scores of validation images by their ledger columns."""
        return {metric.column: metric.value(self) for metric in METRICS.values()}

    @classmethod
    def of_columns(cls, row: Mapping[str, Any] | object) -> Scores:
        """The scores in the ledger columns of a row or a mapping; missing columns are None."""
        values = row if isinstance(row, Mapping) else vars(row)
        return cls(**{name: values.get(metric.column) for name, metric in METRICS.items()})

    @classmethod
    def of_names(cls, values: Mapping[str, Any]) -> Scores:
        """The scores in a mapping from metric names; missing names are None."""
        return cls(**{name: values.get(name) for name in METRICS})


class Result(Protocol):
    """An evaluation that has ended: a row of the ledger."""

    @property
    def evaluation(self) -> int:
        """Its number, in proposal order."""

    @property
    def status(self) -> str:
        """`ok` and `cached` results are ranked."""

    @property
    def scores(self) -> Scores:
        """Its scores on the validation images."""


R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Metric:
    """One metric, as something that a search can optimise.

    Attributes:
        name: its key in `Scores`, in `search.objective` and in `result.json`.
        title: its name for people.
        mode: the direction in which it improves, in Ray Tune's words.
        worst: number that a scheduler takes in place of a missing value.
    """

    name: MetricName
    title: str
    mode: Literal["min", "max"] = "max"
    worst: float = 0.0

    @property
    def column(self) -> str:
        """Its column in the ledger: the metric of the validation images."""
        return f"val_{self.name}"

    def value(self, scores: Scores) -> float | None:
        """This metric of the scores."""
        value: float | None = getattr(scores, self.name)
        return value

    def cost(self, scores: Scores) -> float | None:
        """The number that a searcher is told and minimises: the loss, or 1 − metric.

        None if the metric is undefined: the evaluation then counts as failed.
        """
        value = _finite(self.value(scores))
        return value if value is None or self.mode == "min" else 1 - value

    def rank(self, scores: Scores, evaluation: int) -> Rank:
        """The place of an evaluation among all: by cost, then loss, then proposal order."""
        cost = self.cost(scores)
        if cost is None:
            return math.inf, math.inf, evaluation
        loss = _finite(scores.loss)
        return cost, math.inf if loss is None else loss, evaluation

    def rank_of(self, result: Result) -> Rank:
        """The place of a result; infinite costs if it failed or was stopped early."""
        ranked = result.status in ("ok", "cached")
        return self.rank(result.scores if ranked else Scores(), result.evaluation)

    def counts(self, result: Result) -> bool:
        """Whether a result has a place: it ended well, and the metric is defined."""
        return math.isfinite(self.rank_of(result)[0])

    def is_better(self, result: Result, other: Result | None) -> bool:
        """Whether a result may be the best and comes before another one; any comes before None."""
        if not self.has_weights(result):
            return False
        return other is None or self.rank_of(result) < self.rank_of(other)

    def best(self, results: Iterable[R]) -> R | None:
        """The best of the results that count and have weights; None if none has."""
        return min(filter(self.has_weights, results), key=self.rank_of, default=None)

    def has_weights(self, result: Result) -> bool:
        """Whether a result counts, and was trained itself: the best is one with weights."""
        return result.status == "ok" and self.counts(result)

    def text(self, scores: Scores) -> str:
        """The title and the value, for people: `loss 0.1234`, `balanced accuracy 0.871`."""
        value = self.value(scores)
        digits = 4 if self.mode == "min" else 3
        return f"{self.title} –" if value is None else f"{self.title} {value:.{digits}f}"


METRICS: dict[MetricName, Metric] = {
    metric.name: metric
    for metric in (
        Metric("loss", "loss", mode="min", worst=LOSS_LIMIT),
        Metric("accuracy", "accuracy"),
        Metric("auc", "AUC"),
        Metric("balanced_accuracy", "balanced accuracy"),
        Metric("macro_f1", "macro F1"),
    )
}
"""Every metric, in the order in which tables show them."""

assert {*METRICS} == {*get_args(MetricName)} == {field.name for field in fields(Scores)}
LOSS = METRICS["loss"]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
