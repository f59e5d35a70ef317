"""Tests and intervals of paired differences, compared with scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from revo_ray.report.paired_tests import (
    bootstrap_interval,
    compare,
    holm,
    pairs_needed,
    signed_rank,
    smallest_p,
)

RNG = np.random.default_rng(7)


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
