"""The objective: the order of results, for each metric, and what a searcher is told."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import pytest

from revo_ray.objective import METRICS, Metric, Scores


@dataclass(frozen=True)
class Row:
    """A result, as the ledger has it."""

    evaluation: int
    scores: Scores
    status: str = "ok"


@pytest.fixture(params=METRICS)
def metric(request: pytest.FixtureRequest) -> Metric:
    return METRICS[request.param]


def scored(metric: Metric, value: float | None, loss: float = 1.0) -> Scores:
    return replace(Scores(loss=loss), **{metric.name: value})


def test_the_best_is_the_least_loss_or_the_largest_of_the_others(metric: Metric) -> None:
    rng = random.Random(0)
    rows = [Row(n, scored(metric, rng.random())) for n in range(50)]
    values = [metric.value(row.scores) for row in rows]
    wanted = min(values) if metric.name == "loss" else max(values)
    best = metric.best(rows)
    assert best is not None
    assert metric.value(best.scores) == wanted
    costs = [metric.cost(row.scores) for row in rows]
    assert costs.index(min(costs)) == values.index(wanted)


def test_ties_go_to_the_lower_loss_and_then_to_proposal_order(metric: Metric) -> None:
    rows = [Row(3, scored(metric, 0.5, loss=0.5)), Row(1, scored(metric, 0.5, loss=0.5))]
    assert metric.best(rows).evaluation == 1
    if metric.name != "loss":
        rows.append(Row(7, scored(metric, 0.5, loss=0.4)))
        assert metric.best(rows).evaluation == 7


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_an_undefined_metric_is_a_failure(metric: Metric, value: float | None) -> None:
    row = Row(0, scored(metric, value))
    assert metric.cost(row.scores) is None
    assert not metric.counts(row)
    assert not metric.is_better(row, None)
    assert metric.best([row]) is None


@pytest.mark.parametrize("status", ["diverged", "error", "stopped"])
def test_only_whole_evaluations_count(metric: Metric, status: str) -> None:
    whole, other = Row(1, scored(metric, 0.5)), Row(0, scored(metric, 0.5), status)
    assert metric.best([other, whole]) is whole
    assert not metric.is_better(other, None)
    assert metric.is_better(whole, other)


def test_a_result_that_another_answers_counts_but_is_not_the_best(metric: Metric) -> None:
    trained, answered = Row(5, scored(metric, 0.5)), Row(3, scored(metric, 0.5), "cached")
    assert metric.counts(answered)
    assert metric.best([answered, trained]) is trained
    assert not metric.is_better(answered, trained)
    assert not metric.is_better(answered, None)


def test_a_schedulers_missing_value_is_no_better_than_any(metric: Metric) -> None:
    for value in (0.0, 0.5, 1.0):
        if metric.mode == "min":
            assert metric.worst >= value
        else:
            assert metric.worst <= value


def test_columns_and_names_carry_scores(metric: Metric) -> None:
    scores = scored(metric, 0.25)
    assert scores.columns[metric.column] == 0.25
    assert Scores.of_columns(scores.columns) == scores
    assert Scores.of_names({metric.name: 0.25}) == replace(Scores(), **{metric.name: 0.25})
