"""Paired comparison of methods: signed-rank test, bootstrap interval and Holm's correction.

Scores are pooled over the cells of a study. More is better.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ScoresByMethod = Mapping[str, Mapping[Any, float]]
"""Scores by method, then by block. Two methods are paired by their common blocks."""

DECIMALS = 12
"""Decimals to which scores are compared; later ones hold rounding errors."""
RESAMPLES = 9999


@dataclass(frozen=True)
class Comparison:
    """A method compared with the reference, over the blocks in which both have a score.

    Attributes:
        method, reference: names. A difference is the method's score minus the reference's.
        pairs: number of differences; `wins`, `ties` and `losses` count the method's.
        mean: mean difference; None without a pair.
        low, high: bootstrap interval of the mean, of confidence 1 − alpha; None below two pairs.
        interval: kind of interval: `BCa`, or `percentile` if BCa is not defined.
        p: two-sided, exact p of Wilcoxon's signed-rank test without the ties (scipy's
            zero_method `wilcox`).
        p_holm: p corrected for the number of comparisons with the reference (Holm 1979).
        least_p, least_p_holm: the smallest values that p and p_holm could have with as many
            differences other than 0. Above alpha, no data of this size could have decided.
        direction: sign of the test: 1 if the method tends to be better, −1 if worse.
    """

    method: str
    reference: str
    pairs: int
    wins: int
    ties: int
    losses: int
    mean: float | None
    low: float | None
    high: float | None
    interval: str | None
    p: float | None
    p_holm: float | None
    least_p: float
    least_p_holm: float
    direction: int


def compare(
    scores: ScoresByMethod, reference: str, *, alpha: float = 0.05, seed: int = 0
) -> list[Comparison]:
    """Compare every other method with the reference.

    Args:
        scores: scores of each method.
        reference: name of the reference. It may have no score yet.
        alpha: 1 − confidence of the intervals.
        seed: seed of the bootstrap.
    """
    found = []
    for method in scores:
        if method != reference:
            values = _differences(scores[method], scores.get(reference, {}))
            found.append(_comparison(method, reference, values, alpha, seed))
    tested = [index for index, comparison in enumerate(found) if comparison.p is not None]
    corrected = holm([found[index].p or 0.0 for index in tested])
    # Holm's p never falls when a p rises, so the least p have the least corrections.
    least = holm([found[index].least_p for index in tested])
    for index, p_holm, least_p_holm in zip(tested, corrected, least, strict=True):
        found[index] = replace(found[index], p_holm=p_holm, least_p_holm=least_p_holm)
    return found


def _comparison(
    method: str, reference: str, values: NDArray[np.float64], alpha: float, seed: int
) -> Comparison:
    """One comparison, before the correction for the others."""
    low, high, interval = bootstrap_interval(values, alpha, seed)
    p, direction = signed_rank(values)
    return Comparison(
        method=method,
        reference=reference,
        pairs=len(values),
        wins=int(np.sum(values > 0)),
        ties=int(np.sum(values == 0)),
        losses=int(np.sum(values < 0)),
        mean=float(np.mean(values)) if len(values) else None,
        low=low,
        high=high,
        interval=interval,
        p=p,
        p_holm=None,
        least_p=smallest_p(int(np.count_nonzero(values))),
        least_p_holm=1.0,
        direction=direction,
    )


def signed_rank(values: NDArray[np.float64]) -> tuple[float | None, int]:
    """Wilcoxon's signed-rank test of differences, exact with ties too.

    Differences of 0 are left out; differences of equal size share the mean of their ranks. All
    2^n sign changes are counted at once, by convolution: scipy's exact distribution needs distinct
    ranks, and its permutations suit few differences only.

    Returns:
        The two-sided p (None without a difference, 1 if all are 0), and the sign of the rank sum
        of the positive differences minus that of the negative ones.
    """
    if len(values) == 0:
        return None, 0
    values = values[values != 0]
    doubled = np.rint(2 * stats.rankdata(np.abs(values))).astype(int)  # whole numbers
    chances = np.ones(1)  # chance of each rank sum of the positive differences, from 0
    for rank in doubled:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    positive = int(doubled[values > 0].sum())
    tail = min(chances[: positive + 1].sum(), chances[positive:].sum())
    return float(min(1.0, 2 * tail)), int(np.sign(2 * positive - doubled.sum()))


def bootstrap_interval(
    values: NDArray[np.float64], alpha: float = 0.05, seed: int = 0
) -> tuple[float | None, float | None, str | None]:
    """Bootstrap interval of the mean difference over resampled pairs, bias-corrected (BCa).

    If all resampled means lie on one side, BCa is not defined: the percentile interval stands in.

    Returns:
        Low end, high end and kind of the interval; three None below two pairs.
    """
    if len(values) < 2:
        return None, None, None
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # degenerate data are handled below
            found = stats.bootstrap(
                (values,),
                np.mean,
                n_resamples=RESAMPLES,
                confidence_level=1 - alpha,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if np.isfinite(found.low) and np.isfinite(found.high):
            return float(found.low), float(found.high), method
    return None, None, None


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scand. J. Statist. 6, 1979): adjusted p, in the same order."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def smallest_p(differences: int) -> float:
    """The smallest two-sided p of the signed-rank test: all differences have one sign."""
    return min(1.0, 2.0 ** (1 - differences))


def pairs_needed(alpha: float, comparisons: int = 1) -> int:
    """The fewest pairs with different scores that let each comparison reach alpha."""
    return math.ceil(math.log2(2 * comparisons / alpha))


def _differences(
    method: Mapping[Any, float], reference: Mapping[Any, float]
) -> NDArray[np.float64]:
    both = [method[block] - reference[block] for block in method if block in reference]
    return np.asarray(np.round(both, DECIMALS), dtype=np.float64)
