"""Average ranks of methods: Friedman's test and Nemenyi's critical difference.

After Demšar, *Statistical comparisons of classifiers over multiple data sets*, JMLR 7 (2006).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from revo_ray.report.paired_tests import DECIMALS, ScoresByMethod


@dataclass(frozen=True)
class Ranking:
    """Methods by average rank over the complete blocks; rank 1 is the best.

    Attributes:
        methods, ranks: best first.
        blocks: number of blocks in which every method has a score; `left_out` counts the others.
        statistic, p: Friedman's test, corrected for ties; None below 3 methods or 2 blocks.
        critical_difference: Nemenyi's test at alpha: methods differ if their average ranks are
            at least this far apart. None without a block.
        groups: largest groups of neighbours that do not differ, best first.
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
        """Whether the largest possible difference of ranks, k − 1, would be enough."""
        widest = len(self.methods) - 1
        return self.critical_difference is not None and self.critical_difference <= widest


def rank_methods(
    scores: ScoresByMethod, blocks: Sequence[Hashable], alpha: float = 0.05
) -> Ranking:
    """Rank the methods over the blocks in which all have a score.

    Args:
        scores: scores of each method.
        blocks: all blocks; those that lack a method are counted and left out.
        alpha: error probability of the critical difference.
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
    """Nemenyi's critical difference: q √(k (k + 1) / 6N) (Demšar 2006).

    q is the quantile of the studentized range, divided by √2.
    """
    q = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(methods * (methods + 1) / (6 * blocks)))


def smallest_friedman_p(methods: int, blocks: int) -> float:
    """The smallest p of Friedman's test: every block ranks the methods in the same order."""
    return float(stats.chi2.sf(blocks * (methods - 1), methods - 1))


def blocks_needed(methods: int, alpha: float = 0.05) -> int:
    """The fewest complete blocks with which Nemenyi's test can tell any two methods apart."""
    return math.ceil((critical_difference(methods, 1, alpha) / (methods - 1)) ** 2)


def average_repeats(scores: ScoresByMethod, blocks: Sequence[tuple[Any, ...]]) -> ScoresByMethod:
    """Scores of cells: means over the seeds for which every method has a score.

    Args:
        scores: scores by block: the parts of the cell, then the seed.
        blocks: all blocks.
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


def _friedman(table: NDArray[np.float64]) -> tuple[float | None, float | None]:
    blocks, methods = table.shape
    if methods < 3 or blocks < 2:
        return None, None
    if np.all(table == table[:, :1]):
        return 0.0, 1.0  # all methods equal in every block: scipy would divide 0 by 0
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
