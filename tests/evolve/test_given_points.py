"""Samples that a user gives to the optimisers."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.evolve.algorithms import ALGORITHMS
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.given_points import GivenPoints
from revo_ray.evolve.proposals import Outcome, Proposals
from revo_ray.evolve.space import Categorical, Integer, Real, Sample, Space
from tests.properties import examples

MIXED = Space(
    {
        "rate": Real(1e-4, 1.0, log=True),
        "few": Real(0.0, 1.0, step=0.25),
        "many": Real(0.05, 1.0, step=0.05),
        "two": Integer(3, 4),
        "some": Integer(1, 8),
        "log": Integer(1, 500, log=True),
        "huge": Integer(0, 10**6, step=2),
        "pair": Categorical(("a", None)),
        "kind": Categorical(("a", (1, 2), 3.5, True)),
        "constant": Categorical((7,)),
    }
)


def space_of(algorithm: str) -> Space:
    reals = {name: each for name, each in MIXED.items() if isinstance(each, Real)}
    return Space(reals) if algorithm == "cma" else MIXED


def loss(sample: Sample) -> float:
    return float(np.log10(sample["rate"]) ** 2 + sample["few"] + sample.get("some", 0))


def decoded(optimiser: CMAMV, raw: Any) -> Sample:
    """The values that the library would have handed out for a solution that it drew."""
    algorithm: Any = optimiser._algorithm
    library = algorithm._optimizer
    if optimiser.algorithm == "catcmawm":
        x = library._repair_continuous_params(raw._v_raw[library._continuous_idx])
        z = library._discretization(raw._v_raw[library._discrete_idx])
        assert np.array_equal(x, raw.x)
        assert np.allclose(z, raw.z)
        assert raw.c.sum(axis=1).tolist() == [1] * len(raw.c)
        solution = type(raw)(x, z, raw.c, raw._v_raw)
        library.ask = lambda: solution
    elif optimiser.algorithm == "cmawm":
        encoded = raw.copy()
        rows = library._discrete_idx
        encoded[rows] = library._encode_discrete_params(raw[rows])
        library.ask = lambda: (encoded, raw)
    elif optimiser.algorithm == "sop":
        library.ask = lambda: (raw, library._encoding(raw))
    else:
        library.ask = lambda: raw
    try:
        return optimiser.ask().sample
    finally:
        del library.ask


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(seed=st.integers(0, 10**6), generations=st.integers(0, 4))
@examples(8)
def test_a_solution_is_one_that_the_library_would_decode_so(
    algorithm: str, seed: int, generations: int
) -> None:
    """Also where generations have moved the mean and widened the margins."""
    space = space_of(algorithm)
    optimiser = CMAMV(space, algorithm=algorithm, seed=seed % 100)
    for _ in range(generations):
        asked = [optimiser.ask() for _ in range(10)]
        optimiser.tell([(each, loss(each.sample)) for each in asked])
    sample = space.random(np.random.default_rng(seed))
    candidate = optimiser.candidate(sample)
    assert candidate.sample == sample
    assert space.differing(decoded(optimiser, candidate.raw), sample, 1e-9) is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_drawn_sample_that_is_given_is_told_alike(algorithm: str) -> None:
    """Reals have one solution only, so that giving a draw back changes nothing."""
    space = Space({name: MIXED[name] for name in ("rate",)} | {"other": Real(0.0, 1.0)})
    drawn = CMAMV(space, algorithm=algorithm, seed=1)
    given_back = CMAMV(space, algorithm=algorithm, seed=1)
    for _ in range(3):
        asked = [drawn.ask() for _ in range(10)]
        inside = [c for c in asked if all(0 < u < 1 for u in units(space, c.sample))]
        assert len(inside) > 5
        again = [given_back.ask() for _ in range(10)]
        values = [np.log10(c.sample["rate"]) ** 2 + c.sample["other"] for c in asked]
        drawn.tell(list(zip(asked, values, strict=True)))
        told = [
            given_back.candidate(c.sample) if mine in inside else c
            for c, mine in zip(again, asked, strict=True)
        ]
        given_back.tell(list(zip(told, values, strict=True)))
    one, two = drawn.distribution(), given_back.distribution()
    assert one["sigma"] == pytest.approx(two["sigma"], rel=1e-6)
    assert one["positions"] == pytest.approx(two["positions"], rel=1e-6)


def units(space: Space, sample: Sample) -> list[float]:
    return [space[name].to_unit(sample[name]) for name in space]  # type: ignore[union-attr]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_point_far_away_draws_the_search_to_it(algorithm: str) -> None:
    more = {f"more{number}": Real(0.0, 1.0) for number in range(12)}
    space = Space({**space_of(algorithm), **more})
    best = {n: v.at(0) if not isinstance(v, Real) else v.low for n, v in space.items()}

    def distance(sample: Sample) -> float:
        return sum(
            float(sample[name] != best[name])
            if isinstance(each, Categorical)
            else each.to_unit(sample[name])
            for name, each in space.items()
        )

    def mean_after(given_first: bool) -> float:
        optimiser = CMAMV(space, algorithm=algorithm, seed=2)
        points = GivenPoints(optimiser, {0: best} if given_first else {})
        for _ in range(3):
            asked = [points.ask() for _ in range(10)]
            points.tell([(each, distance(each.sample)) for each in asked])
        return float(np.mean([distance(optimiser.ask().sample) for _ in range(200)]))

    assert mean_after(True) < 0.9 * mean_after(False)


def run(
    points: dict[int, Sample], known: dict[int, float], rng: random.Random, count: int = 45
) -> list[Sample]:
    optimiser = GivenPoints(CMAMV(MIXED, seed=3), points)
    proposals = Proposals(optimiser, MIXED, budget=count, lookahead=3)
    told = {n: (points[n], Outcome(value)) for n, value in known.items()}
    proposals.replay(told)
    samples = {n: sample for n, (sample, _) in told.items()}
    busy: list[Any] = []
    while not proposals.finished:
        while (proposal := proposals.ask()) is not None:
            busy.append(proposal)
        each = busy.pop(rng.randrange(len(busy)))
        samples[each.evaluation] = each.sample
        proposals.tell(each.evaluation, Outcome(loss(each.sample)))
    return [samples[n] for n in range(count)]


@given(count=st.integers(0, 30), seed=st.integers(0, 10**6))
@examples(10)
def test_given_points_come_first_and_the_order_of_ends_changes_nothing(
    count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = {number: MIXED.random(rng) for number in range(count)}
    serial = run(points, {}, random.Random(0))
    assert serial[:count] == list(points.values())
    assert run(points, {}, random.Random(seed)) == serial
    known = {n: loss(point) for n, point in points.items()}
    assert run(points, known, random.Random(seed)) == serial


def test_without_points_the_search_is_that_of_the_bare_optimiser() -> None:
    bare, wrapped = CMAMV(MIXED, seed=4), GivenPoints(CMAMV(MIXED, seed=4), {})
    for _ in range(3):
        asked, same = ([o.ask() for _ in range(10)] for o in (bare, wrapped))
        assert [c.sample for c in asked] == [c.sample for c in same]
        bare.tell([(c, loss(c.sample)) for c in asked])
        wrapped.tell([(c, loss(c.sample)) for c in same])


@pytest.mark.parametrize("wrong", [{}, {"rate": 2.0}, {"kind": "z"}, {"extra": 1}])
def test_a_point_that_does_not_fit_is_refused(wrong: Sample) -> None:
    sample = MIXED.random(np.random.default_rng(0))
    point = sample | wrong if wrong else {}
    with pytest.raises(ValueError, match="sample:"):
        GivenPoints(CMAMV(MIXED), {0: point})
    with pytest.raises(ValueError, match="sample:"):
        GivenPoints(CMAMV(MIXED), {}).add(point)
