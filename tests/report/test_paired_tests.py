"""Tests and intervals of paired differences, compared with scipy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from scipy import stats

from revo_ray.report.paired_tests import Block, Difference, compare, difference, holm

RNG = np.random.default_rng(7)


def by_seed(*cells: Iterable[float]) -> list[dict[int, float]]:
    """Differences of cells under the seeds 0, 1, …"""
    return [dict(enumerate(cell)) for cell in cells]


@pytest.mark.parametrize("count", [2, 3, 8, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_one_cell_is_the_paired_t_test(count: int, alpha: float) -> None:
    reference = RNG.normal(0.8, 0.05, count)
    method = reference + RNG.normal(0.02, 0.03, count)
    test = stats.ttest_rel(method, reference)
    low, high = test.confidence_interval(1 - alpha)
    found = difference(by_seed(method - reference), alpha=alpha)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.p == pytest.approx(test.pvalue)
    assert found.mean == pytest.approx(np.mean(method - reference))


def test_the_mean_of_two_cells_is_welchs() -> None:
    """Two cells are a difference of two means, but for signs: scipy's test of unequal variances."""
    first, second = list(RNG.normal(1, 1, 4)), list(RNG.normal(-2, 3, 7))
    test = stats.ttest_ind(first, [-each for each in second], equal_var=False)
    low, high = test.confidence_interval(0.95)
    found = difference(by_seed(first, second))
    assert found.p == pytest.approx(test.pvalue)
    assert (found.low, found.high) == (pytest.approx(low / 2), pytest.approx(high / 2))
    assert found.mean == pytest.approx((np.mean(first) + np.mean(second)) / 2)


def test_each_cell_has_the_same_weight() -> None:
    assert difference(by_seed([1.0, 3.0], [10.0, 12.0, 11.0, 11.0])).mean == pytest.approx(6.5)


def test_the_interval_covers_what_it_says() -> None:
    """Over three cells of unequal spread and size, which pooled pairs would not."""
    covered, rounds = 0, 1000
    for _ in range(rounds):
        cells = [RNG.normal(1, s, n) for s, n in ((0.5, 4), (2, 5), (1, 8))]
        found = difference(by_seed(*cells))
        assert found.low is not None
        assert found.high is not None
        covered += found.low < 1 < found.high
    assert 0.93 < covered / rounds < 0.99


@pytest.mark.parametrize(("pairs", "visible"), [(8, 1.84), (46, 0.65)])
def test_the_smallest_difference_that_pairs_can_show(pairs: int, visible: float) -> None:
    gains = [-1.0, 1.0] * (pairs // 2)
    scaled = [5 + 2.2 * gain / np.std(gains, ddof=1) for gain in gains]
    assert difference(by_seed(scaled)).visible == pytest.approx(visible, abs=0.01)


def test_differences_without_an_interval() -> None:
    assert difference([]) == Difference()
    assert difference(by_seed([0.1])) == Difference(0.1)
    assert difference(by_seed([0.0, 0.0, 0.0])) == Difference(0.0)
    single = by_seed([1.0], [2.0], [4.0])  # a cell with one seed has no spread of its own
    assert difference(single) == difference(by_seed([1.0, 2.0, 4.0]))
    assert difference(single, "aab") == difference(single)


def test_cells_on_the_same_images_are_one_draw_for_each_seed() -> None:
    """Their seeds share splits; what the splits do to both cells does not average out."""
    first, second = RNG.normal(1, 2, 6), RNG.normal(1, 2, 6)
    alike = difference(by_seed(first, second), "aa")
    means = difference(by_seed((first + second) / 2))
    assert (alike.low, alike.high, alike.p) == pytest.approx((means.low, means.high, means.p))
    assert difference(by_seed(first, second), "ab") == difference(by_seed(first, second))
    other = RNG.normal(1, 2, 5)
    one = difference(by_seed(first, first + 1e-6, other), "aab")
    assert one.visible is not None
    variance = 4 / 9 * np.var(first, ddof=1) / 6 + 1 / 9 * np.var(other, ddof=1) / 5
    parts = (4 / 9 * np.var(first, ddof=1) / 6, 1 / 9 * np.var(other, ddof=1) / 5)
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 5 + parts[1] ** 2 / 4)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    assert one.visible == pytest.approx(half, rel=1e-4)


def test_seeds_of_one_cell_alone_count_in_its_mean_and_its_error() -> None:
    """The variance of the mean of two means, written out."""
    first, second = {0: 1.0, 1: 3.0, 2: 8.0}, {1: 2.0, 0: 3.0}
    found = difference([first, second], "aa")
    assert found.mean == pytest.approx((4 + 2.5) / 2)
    own = sum((x - 4) ** 2 for x in first.values()) / 9
    others = sum((x - 2.5) ** 2 for x in second.values()) / 4
    shared = sum((first[seed] - 4) * (second[seed] - 2.5) for seed in second) / 6
    error = np.sqrt((own + others + 2 * shared) / 4 * 2)  # two seeds at least: times 2 / (2 − 1)
    assert found.visible == pytest.approx(stats.t.ppf(0.975, 1) * error)


def test_cells_on_the_same_images_without_a_common_seed_are_apart() -> None:
    cells = [{0: 1.0, 1: 3.0}, {2: 2.0, 3: 2.5}]
    assert difference(cells, "aa") == difference(cells)


@pytest.mark.parametrize("counts", [(8, 8, 8), (10, 8, 8)])
def test_the_interval_covers_where_cells_share_their_splits(counts: tuple[int, ...]) -> None:
    covered: Counter[str | None] = Counter()
    for _ in range(1000):
        split = RNG.normal(0, 1, max(counts))
        cells = by_seed(*(1 + split[:count] + RNG.normal(0, 1, count) for count in counts))
        for images in ("aaa", None):
            found = difference(cells, images)
            assert found.low is not None
            assert found.high is not None
            covered[images] += found.low < 1 < found.high
    assert 930 < covered["aaa"] < 970
    assert covered[None] < 900


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
    blocks = {seed: Block("cell", "digits", seed) for seed in (0, 1, 2, 3, 7)}
    worse, mixed, absent = compare(scores, blocks, "ours")
    assert (worse.pairs, worse.cells, worse.wins, worse.ties, worse.losses) == (3, 1, 0, 0, 3)
    assert worse.difference == difference(by_seed([-0.1, -0.1, -0.09]))
    assert (mixed.pairs, mixed.wins, mixed.ties, mixed.losses) == (3, 1, 1, 1)
    assert worse.difference.p is not None
    assert worse.p_holm == pytest.approx(2 * worse.difference.p)
    assert mixed.p_holm == mixed.difference.p
    assert (absent.pairs, absent.difference, absent.p_holm) == (0, Difference(), None)
    apart = {seed: Block(cell, "digits", seed) for seed, cell in zip(blocks, "aabbb", strict=True)}
    assert compare(scores, apart, "ours")[1].cells == 2
