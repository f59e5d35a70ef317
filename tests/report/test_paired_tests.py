"""Tests and intervals of paired differences, compared with scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from revo_ray.report.paired_tests import Difference, compare, difference, holm

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("count", [2, 3, 8, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_one_cell_is_the_paired_t_test(count: int, alpha: float) -> None:
    reference = RNG.normal(0.8, 0.05, count)
    method = reference + RNG.normal(0.02, 0.03, count)
    test = stats.ttest_rel(method, reference)
    low, high = test.confidence_interval(1 - alpha)
    found = difference([list(method - reference)], alpha)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.p == pytest.approx(test.pvalue)
    assert found.mean == pytest.approx(np.mean(method - reference))


def test_the_mean_of_two_cells_is_welchs() -> None:
    """Two cells are a difference of two means, but for signs: scipy's test of unequal variances."""
    first, second = list(RNG.normal(1, 1, 4)), list(RNG.normal(-2, 3, 7))
    test = stats.ttest_ind(first, [-each for each in second], equal_var=False)
    low, high = test.confidence_interval(0.95)
    found = difference([first, second])
    assert found.p == pytest.approx(test.pvalue)
    assert (found.low, found.high) == (pytest.approx(low / 2), pytest.approx(high / 2))
    assert found.mean == pytest.approx((np.mean(first) + np.mean(second)) / 2)


def test_each_cell_has_the_same_weight() -> None:
    assert difference([[1.0, 3.0], [10.0, 12.0, 11.0, 11.0]]).mean == pytest.approx(6.5)


def test_the_interval_covers_what_it_says() -> None:
    """Over three cells of unequal spread and size, which pooled pairs would not."""
    covered, rounds = 0, 1000
    for _ in range(rounds):
        cells = [list(RNG.normal(1, s, n)) for s, n in ((0.5, 4), (2, 5), (1, 8))]
        found = difference(cells)
        assert found.low is not None
        assert found.high is not None
        covered += found.low < 1 < found.high
    assert 0.93 < covered / rounds < 0.99


@pytest.mark.parametrize(("pairs", "visible"), [(8, 1.84), (46, 0.65)])
def test_the_smallest_difference_that_pairs_can_show(pairs: int, visible: float) -> None:
    gains = [-1.0, 1.0] * (pairs // 2)
    scaled = [5 + 2.2 * gain / np.std(gains, ddof=1) for gain in gains]
    assert difference([scaled]).visible == pytest.approx(visible, abs=0.01)


def test_differences_without_an_interval() -> None:
    assert difference([]) == Difference()
    assert difference([[0.1]]) == Difference(0.1)
    assert difference([[0.0, 0.0, 0.0]]) == Difference(0.0)
    single = [[1.0], [2.0], [4.0]]  # a cell with one seed has no spread of its own
    assert difference(single) == difference([[1.0, 2.0, 4.0]])


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


def test_comparisons_pair_by_block_and_count_their_family() -> None:
    scores = {
        "ours": {0: 0.8, 1: 0.7, 2: 0.9, 3: 0.6},
        "worse": {3: 0.5, 2: 0.8, 1: 0.61, 7: 0.0},
        "mixed": {0: 0.1 + 0.7, 1: 0.8, 2: 0.8},  # 0.1 + 0.7 is not 0.8 to the last bit
        "absent": {},
    }
    cells = dict.fromkeys((0, 1, 2, 3, 7), "cell")
    worse, mixed, absent = compare(scores, cells, "ours")
    assert (worse.pairs, worse.cells, worse.wins, worse.ties, worse.losses) == (3, 1, 0, 0, 3)
    assert worse.difference == difference([[-0.1, -0.1, -0.09]])
    assert (mixed.pairs, mixed.wins, mixed.ties, mixed.losses) == (3, 1, 1, 1)
    assert worse.difference.p is not None
    assert worse.p_holm == pytest.approx(2 * worse.difference.p)
    assert mixed.p_holm == mixed.difference.p
    assert (absent.pairs, absent.difference, absent.p_holm) == (0, Difference(), None)
    apart = dict(zip(cells, "aabbb", strict=True))
    assert compare(scores, apart, "ours")[1].cells == 2
