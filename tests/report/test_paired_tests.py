"""Tests and intervals against scipy; ranks and critical differences against published values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from revo_ray.report.statistics import (
    average_repeats,
    blocks_needed,
    bootstrap_interval,
    compare,
    critical_difference,
    holm,
    pairs_needed,
    rank_methods,
    signed_rank,
    smallest_friedman_p,
    smallest_p,
)
from scipy import stats

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


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 12, 30, 50])
def test_wilcoxon_of_distinct_differences_is_scipys_exact_one(count: int) -> None:
    for shift in (0.0, 0.7):
        values = RNG.normal(shift, 1, count)
        expected = stats.wilcoxon(values, method="exact").pvalue
        assert signed_rank(values)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [2, 4, 6, 8])
def test_wilcoxon_with_ties_and_zeros_is_scipys_permutation_of_all_signs(count: int) -> None:
    for _ in range(3):
        values = RNG.integers(-2, 4, count).astype(float)
        values[0] = 1.0  # scipy has no answer where every difference is 0
        expected = stats.wilcoxon(
            values, zero_method="wilcox", method=stats.PermutationMethod(n_resamples=2**count)
        ).pvalue
        assert signed_rank(values)[0] == pytest.approx(expected, rel=1e-9)


def test_wilcoxon_of_many_tied_differences_is_near_the_normal_approximation() -> None:
    values = np.round(RNG.normal(0.2, 1, 120), 1)
    assert signed_rank(values)[0] == pytest.approx(
        stats.wilcoxon(values, zero_method="wilcox", method="asymptotic").pvalue, rel=0.02
    )


def test_wilcoxon_has_a_direction_and_answers_where_there_is_nothing_to_test() -> None:
    assert signed_rank(np.array([3.0, -1.0, 2.0]))[1] == 1
    assert signed_rank(np.array([-3.0, 1.0, 2.0]))[1] == 0
    assert signed_rank(np.array([-3.0, 1.0]))[1] == -1
    assert signed_rank(np.zeros(4)) == (1.0, 0)
    assert signed_rank(np.zeros(0)) == (None, 0)


def test_the_interval_is_scipys_paired_bootstrap() -> None:
    reference = RNG.normal(0.8, 0.05, 20)
    method = reference + RNG.gamma(2, 0.01, 20)
    expected = stats.bootstrap(
        (method, reference),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        paired=True,
        confidence_level=0.9,
        rng=np.random.default_rng(3),
    ).confidence_interval
    low, high, kind = bootstrap_interval(method - reference, alpha=0.1, seed=3)
    assert (low, high, kind) == (pytest.approx(expected.low), pytest.approx(expected.high), "BCa")


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_the_interval_where_bca_is_not_defined() -> None:
    with pytest.warns(stats.DegenerateDataWarning):  # so scipy has none
        found = stats.bootstrap((np.zeros(4),), np.mean, method="BCa").confidence_interval
    assert math.isnan(found.low)
    assert bootstrap_interval(np.zeros(4)) == (0.0, 0.0, "percentile")
    assert bootstrap_interval(np.array([0.1])) == (None, None, None)


def test_holm_rejects_what_the_step_down_procedure_does() -> None:
    for alpha in (0.01, 0.05, 0.2):
        for _ in range(50):
            p_values = list(RNG.random(6) ** 3)
            rejected = set()
            for step, index in enumerate(np.argsort(p_values)):
                if p_values[index] > alpha / (6 - step):
                    break
                rejected.add(int(index))
            assert {i for i, p in enumerate(holm(p_values)) if p <= alpha} == rejected
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@pytest.mark.parametrize("comparisons", [1, 2, 5, 8])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_the_least_p_is_what_scipy_gives_for_differences_of_one_sign(
    comparisons: int, alpha: float
) -> None:
    needed = pairs_needed(alpha, comparisons)
    for count in (needed - 1, needed):
        least = stats.wilcoxon(np.arange(1.0, count + 1), method="exact").pvalue
        assert smallest_p(count) == pytest.approx(least)
        assert (comparisons * least <= alpha) == (count == needed)


def test_three_five_and_six_seeds() -> None:
    assert [smallest_p(seeds) for seeds in (3, 5, 6)] == [0.25, 0.0625, 0.03125]
    assert pairs_needed(0.05) == 6


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


def test_comparisons_pair_by_block_and_count_their_family() -> None:
    scores = {
        "ours": {0: 0.8, 1: 0.7, 2: 0.9, 3: 0.6},
        "worse": {3: 0.5, 2: 0.8, 1: 0.6, 7: 0.0},
        "mixed": {0: 0.1 + 0.7, 1: 0.8, 2: 0.8},  # 0.1 + 0.7 is not 0.8 to the last bit
        "absent": {},
    }
    worse, mixed, absent = compare(scores, "ours")
    assert (worse.pairs, worse.wins, worse.ties, worse.losses) == (3, 0, 0, 3)
    assert worse.mean == pytest.approx(-0.1)
    assert worse.direction == -1
    assert (mixed.pairs, mixed.wins, mixed.ties, mixed.losses) == (3, 1, 1, 1)
    assert (worse.p, worse.p_holm, worse.least_p, worse.least_p_holm) == (0.25, 0.5, 0.25, 0.5)
    assert (mixed.least_p, mixed.least_p_holm) == (0.5, 0.5)
    assert (absent.pairs, absent.p, absent.p_holm, absent.mean) == (0, None, None, None)


def test_no_data_get_below_the_least_p() -> None:
    for _ in range(20):
        scores = {
            name: {block: RNG.normal(shift, 0.2) for block in range(count)}
            for name, shift, count in (("ref", 0, 9), ("a", 1, 5), ("b", 2, 9), ("c", 0, 3))
        }
        for comparison in compare(scores, "ref"):
            assert comparison.p is not None
            assert comparison.p_holm is not None
            assert comparison.least_p <= comparison.p + 1e-12
            assert comparison.least_p_holm <= comparison.p_holm + 1e-12


def test_cells_are_means_over_the_seeds_that_all_methods_have() -> None:
    scores = {
        "a": {("x", 0): 1.0, ("x", 1): 3.0, ("y", 0): 5.0},
        "b": {("x", 0): 2.0, ("x", 1): 2.0, ("x", 2): 9.0},
    }
    cells = average_repeats(scores, [("x", 0), ("x", 1), ("x", 2), ("y", 0)])
    assert cells == {"a": {("x",): 2.0}, "b": {("x",): 2.0}}
