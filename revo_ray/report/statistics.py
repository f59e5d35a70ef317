"""Which differences between methods are more than chance: paired tests, intervals and ranks.

Pure functions of scores, pooled over the cells of a study. Demšar, *Statistical comparisons of
classifiers over multiple data sets*, JMLR 7 (2006), is the source of what is done with ranks.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = Mapping[str, Mapping[Any, float]]
"""Method → block (what methods are paired by) → score; more is better."""

DECIMALS = 12
"""Scores that agree so far are equal: their differences hold rounding errors."""
RESAMPLES = 9999


@dataclass(frozen=True)
class Comparison:
    """A method against the reference, over the blocks in which both have a score.

    Attributes:
        method, reference: their names; a difference is the method's score minus the reference's.
        pairs: how many differences there are; `wins`, `ties` and `losses` count the method's.
        mean: of the differences; None without a pair.
        low, high: its bootstrap interval, of confidence 1 − alpha; None below two pairs.
        interval: how it was made: `BCa`, or `percentile` where BCa is not defined.
        p: two-sided and exact, of Wilcoxon's signed-rank test without the ties (scipy's
            zero_method `wilcox`).
        p_holm: corrected for the number of comparisons with the reference (Holm 1979).
        least_p, least_p_holm: what these would be at the least, with so many differences that
            are not 0; above alpha, no data of this size could have decided.
        direction: the sign of the test: 1 where the method tends to be better, −1 worse.
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


@dataclass(frozen=True)
class Ranking:
    """Methods by average rank over the complete blocks; rank 1 is the best.

    Attributes:
        methods, ranks: best first.
        blocks: with a score of every method; `left_out` are the others.
        statistic, p: of Friedman's test, corrected for ties; None below 3 methods or 2 blocks.
        critical_difference: of Nemenyi's test at alpha: average ranks at least so far apart
            differ; None without a block.
        groups: largest runs of neighbours that do not differ, best first.
    """

    methods: list[str]
    ranks: list[float]
    blocks: int
    left_out: int
    alpha: float
    statistic: float | None
    p: float | None
    critical_difference: float | None
    groups: list[list[str]]

    @property
    def could_decide(self) -> bool:
        """Whether even the largest possible difference of ranks, k − 1, would be enough."""
        widest = len(self.methods) - 1
        return self.critical_difference is not None and self.critical_difference <= widest


def compare(
    scores: Scores, reference: str, *, alpha: float = 0.05, seed: int = 0
) -> list[Comparison]:
    """Every other method against the reference.

    Args:
        scores: of each method.
        reference: the method that the others are compared with; it may have no score yet.
        alpha: 1 − the confidence of the intervals.
        seed: of the bootstrap.
    """
    found = []
    for method in scores:
        if method != reference:
            values = _differences(scores[method], scores.get(reference, {}))
            found.append(_comparison(method, reference, values, alpha, seed))
    tested = [index for index, comparison in enumerate(found) if comparison.p is not None]
    corrected = holm([found[index].p or 0.0 for index in tested])
    # Holm's p never falls when a p rises, so the least ones have the least corrections.
    least = holm([found[index].least_p for index in tested])
    for index, p_holm, least_p_holm in zip(tested, corrected, least, strict=True):
        found[index] = replace(found[index], p_holm=p_holm, least_p_holm=least_p_holm)
    return found


def _comparison(
    method: str, reference: str, values: NDArray[np.float64], alpha: float, seed: int
) -> Comparison:
    """One comparison, not corrected yet for the others."""
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
    """Wilcoxon's signed-rank test of differences: exact, also where some are equally large.

    Those that are 0 are left out; equally large ones share the mean of their ranks. All 2^n
    changes of sign are counted at once, by convolution: scipy's exact distribution is of distinct
    ranks, and its permutations are for few differences.

    Returns:
        The two-sided p (None without a difference to look at, 1 if all are 0), and the sign of
        the rank sum of the positive ones minus that of the negative ones.
    """
    if len(values) == 0:
        return None, 0
    values = values[values != 0]
    doubled = np.rint(2 * stats.rankdata(np.abs(values))).astype(int)  # whole numbers
    chances = np.ones(1)  # of each rank sum of the positive ones, from 0
    for rank in doubled:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    positive = int(doubled[values > 0].sum())
    tail = min(chances[: positive + 1].sum(), chances[positive:].sum())
    return float(min(1.0, 2 * tail)), int(np.sign(2 * positive - doubled.sum()))


def bootstrap_interval(
    values: NDArray[np.float64], alpha: float = 0.05, seed: int = 0
) -> tuple[float | None, float | None, str | None]:
    """The interval of the mean difference, over resampled pairs: bias-corrected (BCa).

    Where BCa is not defined (all resampled means on one side), it is the percentile interval.
    """
    if len(values) < 2:
        return None, None, None
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of degenerate data: it is looked at here
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
    """The least two-sided p of the signed-rank test: all differences of one sign."""
    return min(1.0, 2.0 ** (1 - differences))


def smallest_friedman_p(methods: int, blocks: int) -> float:
    """The least p of Friedman's test: the same order of methods in every block."""
    return float(stats.chi2.sf(blocks * (methods - 1), methods - 1))


def pairs_needed(alpha: float, comparisons: int = 1) -> int:
    """The least number of pairs that differ with which each comparison could be decided."""
    return math.ceil(math.log2(2 * comparisons / alpha))


def rank_methods(scores: Scores, blocks: Sequence[Hashable], alpha: float = 0.05) -> Ranking:
    """Friedman's test and Nemenyi's critical difference, over the blocks with every method.

    Args:
        scores: of each method.
        blocks: all there are; those that lack a method are counted and left out.
        alpha: of the critical difference.
    """
    methods = list(scores)
    complete = [block for block in blocks if all(block in scores[m] for m in methods)]
    count, left_out = len(complete), len(blocks) - len(complete)
    if not methods or count == 0:
        return Ranking(methods, [], 0, left_out, alpha, None, None, None, [])
    table = np.array([[scores[m][block] for m in methods] for block in complete])
    table = np.round(table, DECIMALS)
    means = stats.rankdata(-table, axis=1).mean(axis=0)
    order = sorted(range(len(methods)), key=lambda index: (means[index], index))
    statistic, p = _friedman(table)
    distance = critical_difference(len(methods), count, alpha) if len(methods) > 1 else None
    names = [methods[index] for index in order]
    ranks = [float(means[index]) for index in order]
    groups = _groups(names, ranks, distance) if distance is not None else []
    return Ranking(names, ranks, count, left_out, alpha, statistic, p, distance, groups)


def critical_difference(methods: int, blocks: int, alpha: float = 0.05) -> float:
    """Nemenyi's: q √(k (k + 1) / 6N), q the studentized range's quantile / √2 (Demšar 2006)."""
    q = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(methods * (methods + 1) / (6 * blocks)))


def blocks_needed(methods: int, alpha: float = 0.05) -> int:
    """The least number of complete blocks with which Nemenyi's test can tell any two apart."""
    return math.ceil((critical_difference(methods, 1, alpha) / (methods - 1)) ** 2)


def average_repeats(scores: Scores, blocks: Sequence[tuple[Any, ...]]) -> Scores:
    """Scores of cells: means over those of a cell's seeds that every method has.

    Args:
        scores: by block: a cell's parts, then its seed.
        blocks: all there are.
    """
    cells: dict[str, dict[Any, list[float]]] = {m: defaultdict(list) for m in scores}
    for block in blocks:
        if all(block in scores[method] for method in scores):
            for method, values in scores.items():
                cells[method][block[:-1]].append(values[block])
    return {
        method: {cell: float(np.mean(values)) for cell, values in of_method.items()}
        for method, of_method in cells.items()
    }


def _differences(
    method: Mapping[Any, float], reference: Mapping[Any, float]
) -> NDArray[np.float64]:
    both = [method[block] - reference[block] for block in method if block in reference]
    return np.asarray(np.round(both, DECIMALS), dtype=np.float64)


def _friedman(table: NDArray[np.float64]) -> tuple[float | None, float | None]:
    blocks, methods = table.shape
    if methods < 3 or blocks < 2:
        return None, None
    if np.all(table == table[:, :1]):
        return 0.0, 1.0  # every method equal in every block; scipy divides 0 by 0
    statistic, p = stats.friedmanchisquare(*table.T)
    return float(statistic), float(p)


def _groups(methods: list[str], ranks: list[float], distance: float) -> list[list[str]]:
    groups: list[list[str]] = []
    reached = 0
    for start in range(len(methods)):
        end = start
        while end < len(methods) and ranks[end] - ranks[start] < distance:
            end += 1
        if end - start > 1 and end > reached:
            groups.append(methods[start:end])
            reached = end
    return groups
