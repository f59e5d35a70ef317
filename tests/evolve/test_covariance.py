"""The initial covariance: rates of neighbouring units vary together, all else alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from revo_ray.evolve.algorithms import ALGORITHMS
from revo_ray.evolve.algorithms.base import LENGTH, NEAR, SHARED, initial_cov
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.space import Categorical, Integer, Real, Space

SIGMA = 0.1
DEPTHS = (0.0, 0.1, 0.2, 0.55, 1.0)
RATES = {
    f"rate{number}": Real(1e-6, 1.0, log=True, deviation=0.03 * (1 + number % 2), depth=depth)
    for number, depth in enumerate(DEPTHS)
}
ALONE = {"decay": Real(1e-6, 0.1, log=True), "momentum": Real(0.0, 1.0, deviation=0.05)}
OTHERS = {"steps": Integer(0, 9), "bit": Categorical((0, 1)), "kind": Categorical(("a", "b", "c"))}


def space_of(algorithm: str) -> Space:
    """The rates stand between the others."""
    others = {} if algorithm == "cma" else OTHERS
    first = dict(list(RATES.items())[:1])
    return Space({"decay": ALONE["decay"], **first, **others, **ALONE, **RATES})


def expected(one: str, other: str) -> float:
    """Covariance of two reals, as fractions of their ranges."""
    reals = RATES | ALONE
    deviations = [reals[name].deviation or SIGMA for name in (one, other)]
    depths = [reals[name].depth for name in (one, other)]
    if one == other:
        return deviations[0] ** 2
    if None in depths:
        return 0.0
    distance = (depths[0] - depths[1]) / LENGTH
    return math.prod(deviations) * (SHARED + NEAR * math.exp(-(distance**2) / 2))


def draws(space: Space, count: int, **settings: Any) -> np.ndarray:
    """Places of the reals on their scales, of candidates of the first generation."""
    optimiser = CMAMV(space, sigma=SIGMA, seed=3, **settings)
    reals = {name: each for name, each in space.items() if isinstance(each, Real)}
    samples = [optimiser.ask().sample for _ in range(count)]
    return np.array([[each.to_unit(s[name]) for name, each in reals.items()] for s in samples])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_first_samples_have_the_covariance_of_the_formula(algorithm: str) -> None:
    space, count = space_of(algorithm), 3000
    found = np.cov(draws(space, count, algorithm=algorithm, covariance="depth").T)
    names = [name for name in space if name in RATES | ALONE]
    wanted = np.array([[expected(one, other) for other in names] for one in names])
    scale = np.sqrt(np.outer(wanted.diagonal(), wanted.diagonal()))
    # The standard error of a correlation is at most 1/√count, that of a variance √(2/count).
    assert np.abs((found - wanted) / scale).max() < 4.5 * math.sqrt(2 / count)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_independent_knows_no_depth(algorithm: str) -> None:
    """Bit for bit, over generations."""
    space = space_of(algorithm)
    flat = Space(
        {n: replace(e, depth=None) if isinstance(e, Real) else e for n, e in space.items()}
    )
    optimisers = [
        CMAMV(each, algorithm=algorithm, seed=3, **settings)
        for each, settings in (
            (space, {"covariance": "independent"}),
            (flat, {"covariance": "depth"}),
            (space, {}),
            (space, {"covariance": "depth"}),
        )
    ]
    differs = False
    for _ in range(5):
        made = [[optimiser.ask() for _ in range(10)] for optimiser in optimisers]
        samples = [[each.sample for each in own] for own in made]
        assert samples[0] == samples[1] == samples[2]
        differs |= samples[0] != samples[3]
        for optimiser, own in zip(optimisers, made, strict=True):
            optimiser.tell([(each, float(each.sample["rate1"])) for each in own])
    assert differs


def test_what_has_no_depth_keeps_its_variance_and_varies_alone() -> None:
    variables = [*RATES.values(), *ALONE.values(), Integer(0, 2), Integer(0, 9)]
    alone, together = (initial_cov(variables, SIGMA, kind) for kind in ("independent", "depth"))
    assert (alone == np.diag(alone.diagonal())).all()
    assert together.diagonal() == pytest.approx(alone.diagonal())
    rest = slice(len(RATES), None)
    assert (together[rest] == alone[rest]).all()
    assert (together[:, rest] == alone[:, rest]).all()
    assert (together[: len(RATES), : len(RATES)] != alone[: len(RATES), : len(RATES)]).any()


def test_without_deviations_and_depths_it_is_the_identity() -> None:
    variables = [Real(0.0, 1.0), Real(-2.0, 2.0), Integer(0, 1)]
    assert (initial_cov(variables, SIGMA, "depth") == np.eye(3)).all()


@pytest.mark.parametrize("units", [1, 2, 50, 400])
def test_it_can_be_sampled_from_at_any_number_of_units(units: int) -> None:
    depths = np.linspace(0, 1, units) if units > 1 else [0.0]
    variables = [Real(0.0, 1.0, depth=float(depth)) for depth in depths]
    lowest = np.linalg.eigvalsh(initial_cov(variables, SIGMA, "depth"))[0]
    assert lowest > 0.1
