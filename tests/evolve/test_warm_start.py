"""A distribution around winners: that of WS-CMA-ES, where one can compare, and sane elsewhere."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from cmaes import get_warm_start_mgd
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.evolve.algorithms import ALGORITHMS
from revo_ray.evolve.algorithms.base import KEPT, LOOSE, CovarianceName, initial_cov
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.space import Categorical, Integer, Real, Space
from tests.properties import examples

DEVIATION = 0.2
KINDS: tuple[CovarianceName, ...] = get_args(CovarianceName)


def reals(count: int, **settings: float) -> Space:
    return Space({f"x{i}": Real(0, 1, deviation=DEVIATION, **settings) for i in range(count)})


def samples(space: Space, places: np.ndarray) -> list[dict[str, float]]:
    return [dict(zip(space, map(float, row), strict=True)) for row in places]


@given(count=st.integers(1, 6), winners=st.integers(1, 12), seed=st.integers(0, 999))
@examples(40)
def test_mean_and_covariance_are_those_of_the_library(count: int, winners: int, seed: int) -> None:
    places = np.random.default_rng(seed).uniform(0.4, 0.6, (winners, count))
    mean, sigma, cov = get_warm_start_mgd(
        [(place, 0.0) for place in places], gamma=1.0, alpha=KEPT * DEVIATION
    )
    space = reals(count)
    warm = space.around(samples(space, places))
    assert [each.start for each in warm.values()] == pytest.approx(mean)
    for unit in (0.125, 0.5):
        ours = unit**2 * initial_cov(list(warm.values()), unit, "independent")
        assert ours == pytest.approx(sigma**2 * cov)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_hundreds_of_genes_have_a_step_size(algorithm: str) -> None:
    """The library's is 0: its determinant underflows."""
    places = np.random.default_rng(0).normal(0.5, 0.02, (10, 400))
    _, sigma, _ = get_warm_start_mgd([(place, 0.0) for place in places], gamma=1.0)
    assert sigma == 0
    space = Space({f"x{i}": Real(0, 1, deviation=0.1, depth=i / 399) for i in range(400)})
    warm = space.around(samples(space, places))
    optimiser = CMAMV(warm, algorithm=algorithm, covariance="depth")
    asked = [optimiser.ask() for _ in range(10)]
    spread = np.std([list(each.sample.values()) for each in asked], axis=0)
    assert optimiser.distribution()["sigma"] > 0
    assert 0.02 < np.median(spread) < 0.1  # narrower than a cold start, and wide enough to search
    optimiser.tell([(each, float(number)) for number, each in enumerate(asked)])
    assert optimiser.distribution()["sigma"] > 0


@given(seed=st.integers(0, 999), depth=st.booleans(), covariance=st.sampled_from(KINDS))
@examples(20)
def test_winners_that_lie_far_apart_widen_no_gene_much(
    seed: int, depth: bool, covariance: CovarianceName
) -> None:
    rng = np.random.default_rng(seed)
    space = Space(
        {f"x{i}": Real(0, 1, deviation=0.05, depth=i / 7 if depth else None) for i in range(8)}
    )
    warm = space.around(samples(space, rng.uniform(0, 1, (10, 8))))
    cov = 0.125**2 * initial_cov(list(warm.values()), 0.125, covariance)
    assert np.linalg.eigvalsh(cov).min() > 0
    loose = LOOSE if covariance == "depth" else 0
    assert np.sqrt(np.diag(cov)) == pytest.approx(0.05 * np.sqrt(1 + KEPT**2 + loose))


def test_the_overall_rate_stays_loose() -> None:
    """Equal winners: the mean of all genes varies as a cold start's, a single gene less."""
    space = Space({f"x{i}": Real(0, 1, deviation=0.05, depth=i / 49) for i in range(50)})
    cold = initial_cov(list(space.values()), 0.125, "depth")
    around = space.around([dict.fromkeys(space, 0.5)] * 10)
    warm = initial_cov(list(around.values()), 0.125, "depth")
    assert warm.mean() > cold.mean()
    pattern = np.eye(50) - 1 / 50
    assert np.trace(pattern @ warm) < 0.15 * np.trace(pattern @ cold)


@given(frozen=st.integers(0, 10))
def test_a_choice_that_no_winner_made_can_still_be_drawn(frozen: int) -> None:
    space = Space({"bit": Categorical((0, 1)), "k": Integer(1, 9), "other": Real(0, 1)})
    winners = [{"bit": int(i >= frozen), "k": 3} for i in range(10)]
    warm = space.around(winners)
    assert warm["bit"].probabilities[0] == pytest.approx(0.05 + 0.09 * frozen)
    assert warm["k"].start == pytest.approx(3)
    assert warm["other"] == space["other"]
