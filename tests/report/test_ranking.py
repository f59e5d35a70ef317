"""Ranks and critical differences, compared with published values and with scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from revo_ray.report.ranking import (
    average_repeats,
    blocks_needed,
    critical_difference,
    rank_methods,
    smallest_friedman_p,
)

RNG = np.random.default_rng(7)

# Demšar, JMLR 7 (2006): Table 5(a), critical values of the two-tailed Nemenyi test.
Q_05 = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
Q_10 = {2: 1.645, 3: 2.052, 4: 2.291, 5: 2.459, 6: 2.589, 7: 2.693, 8: 2.780, 9: 2.855, 10: 2.920}

# The same, Table 6: AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 data sets. The last digit of
# `voting` is ours: the table ranks +cf before +m+cf, though both are 0.975 to three digits.
AUC = np.array(
    [
        (0.763, 0.768, 0.771, 0.798),
        (0.599, 0.591, 0.590, 0.569),
        (0.954, 0.971, 0.968, 0.967),
        (0.628, 0.661, 0.654, 0.657),
        (0.882, 0.888, 0.886, 0.898),
        (0.936, 0.931, 0.916, 0.931),
        (0.661, 0.668, 0.609, 0.685),
        (0.583, 0.583, 0.563, 0.625),
        (0.775, 0.838, 0.866, 0.875),
        (1.000, 1.000, 1.000, 1.000),
        (0.940, 0.962, 0.965, 0.962),
        (0.619, 0.666, 0.614, 0.669),
        (0.972, 0.981, 0.9751, 0.975),
        (0.957, 0.978, 0.946, 0.970),
    ]
)
C45 = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]


def by_method(table: np.ndarray, names: list[str]) -> dict[str, dict[int, float]]:
    return {name: dict(enumerate(column)) for name, column in zip(names, table.T, strict=True)}


@pytest.mark.parametrize("methods", Q_05)
def test_the_critical_values_are_the_published_ones(methods: int) -> None:
    root = math.sqrt(methods * (methods + 1) / 6)
    assert critical_difference(methods, 1, 0.05) / root == pytest.approx(Q_05[methods], abs=1e-3)
    assert critical_difference(methods, 1, 0.10) / root == pytest.approx(Q_10[methods], abs=1e-3)


def test_the_critical_differences_are_the_published_ones() -> None:
    assert round(critical_difference(7, 16), 2) == 2.25
    assert round(critical_difference(4, 14), 2) == 1.25  # Demšar, section 3.2.3
    assert round(critical_difference(4, 14, 0.1), 2) == 1.12


def test_average_ranks_are_those_of_the_published_example() -> None:
    ranking = rank_methods(by_method(AUC, C45), range(14))
    ranks = dict(zip(ranking.methods, ranking.ranks, strict=True))
    assert [round(ranks[name], 3) for name in C45] == [3.143, 2.000, 2.893, 1.964]
    assert ranking.methods[0] == "C4.5+m+cf"
    # The paper's conclusions: no difference at 0.05; at 0.10 C4.5 is worse than the two with +m.
    assert ranking.groups == [ranking.methods]
    lax = rank_methods(by_method(AUC, C45), range(14), alpha=0.1)
    assert lax.groups == [["C4.5+m+cf", "C4.5+m", "C4.5+cf"], ["C4.5+cf", "C4.5"]]


def test_friedman_is_scipys() -> None:
    ranking = rank_methods(by_method(AUC, C45), range(14))
    expected = stats.friedmanchisquare(*AUC.T)
    assert (ranking.statistic, ranking.p) == pytest.approx(tuple(expected))
    least = stats.friedmanchisquare(*np.tile(np.arange(4.0)[:, None], (1, 5))).pvalue
    assert smallest_friedman_p(4, 5) == pytest.approx(least)


def test_friedman_where_there_is_nothing_to_test() -> None:
    same = rank_methods(by_method(np.ones((5, 3)), ["a", "b", "c"]), range(5))
    assert (same.statistic, same.p, same.ranks) == (0.0, 1.0, [2.0, 2.0, 2.0])
    assert rank_methods(by_method(AUC[:, :2], C45[:2]), range(14)).p is None
    assert rank_methods(by_method(AUC[:1], C45), range(1)).p is None
    nothing = rank_methods({"a": {}, "b": {0: 1.0}}, range(3))
    assert (nothing.blocks, nothing.left_out, nothing.critical_difference) == (0, 3, None)


def test_only_complete_blocks_are_ranked() -> None:
    scores = by_method(AUC, C45)
    del scores["C4.5"][0], scores["C4.5+m"][0], scores["C4.5+m"][5]
    ranking = rank_methods(scores, range(15))
    assert (ranking.blocks, ranking.left_out) == (12, 3)
    kept = np.delete(AUC, [0, 5], axis=0)
    assert ranking.ranks == rank_methods(by_method(kept, C45), range(12)).ranks


def test_two_methods_share_a_group_when_they_are_closer_than_the_critical_difference() -> None:
    for blocks in (4, 10, 40):
        table = RNG.normal(np.arange(8) * 0.4, 1, (blocks, 8))
        ranking = rank_methods(by_method(table, list("abcdefgh")), range(blocks))
        ranks = dict(zip(ranking.methods, ranking.ranks, strict=True))
        assert ranking.critical_difference is not None
        for one in ranks:
            for other in set(ranks) - {one}:
                close = abs(ranks[one] - ranks[other]) < ranking.critical_difference
                together = any({one, other} <= set(group) for group in ranking.groups)
                assert close == together
        for group in ranking.groups:
            assert not any(set(group) < set(larger) for larger in ranking.groups)


@pytest.mark.parametrize("methods", [2, 3, 7, 9])
def test_the_blocks_needed_are_the_fewest_with_which_first_and_last_could_differ(
    methods: int,
) -> None:
    needed = blocks_needed(methods)
    for blocks in (needed - 1, needed):
        table = np.tile(np.arange(methods, dtype=float), (blocks, 1))
        ranking = rank_methods(by_method(table, [str(m) for m in range(methods)]), range(blocks))
        assert ranking.could_decide == (blocks == needed)
        ends = {ranking.methods[0], ranking.methods[-1]}
        assert any(ends <= set(group) for group in ranking.groups) == (blocks < needed)


def test_cells_are_means_over_the_seeds_that_all_methods_have() -> None:
    scores = {
        "a": {("x", 0): 1.0, ("x", 1): 3.0, ("y", 0): 5.0},
        "b": {("x", 0): 2.0, ("x", 1): 2.0, ("x", 2): 9.0},
    }
    cells = average_repeats(scores, [("x", 0), ("x", 1), ("x", 2), ("y", 0)])
    assert cells == {"a": {("x",): 2.0}, "b": {("x",): 2.0}}
