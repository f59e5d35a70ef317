"""The best of random draws, compared with brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from revo_ray.report.figures.best_so_far import best_of_draws


@pytest.mark.parametrize("losses", [[3.0, 1.0, 2.0, 5.0, 4.0], [2.0, np.inf, 2.0, np.inf, 1.0]])
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_best_of_random_draws_is_that_of_all_orders(
    losses: list[float], quantile: float
) -> None:
    curves = [np.minimum.accumulate(order) for order in itertools.permutations(losses)]
    expected = np.quantile(curves, quantile, axis=0, method="inverted_cdf")
    assert best_of_draws(sorted(losses), quantile).tolist() == expected.tolist()
