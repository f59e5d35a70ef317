"""Image size, epochs and evaluations that fit a time: properties of every choice."""

from __future__ import annotations

from dataclasses import astuple, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.search.core.time_budget import (
    EPOCHS,
    EVALUATIONS,
    FORWARD,
    SIZES,
    STEPS,
    Limits,
    Plan,
    Work,
    batch_size,
    largest,
    limits,
    plans,
)

counts = st.integers(1, 2_000_000)
populations = st.integers(4, 200)
seconds = st.floats(0, 1e7)


@st.composite
def searches(draw: st.DrawFn) -> tuple[Limits, Work]:
    train, population = draw(counts), draw(populations)
    own = draw(st.sampled_from([*SIZES[2:], 300, 518]))
    found = limits(
        *(train, batch_size(train), own, draw(st.none() | st.integers(1, 20_000))),
        smaller=draw(st.booleans()),
        population=population,
    )
    per_image = draw(st.floats(1e-6, 10))
    steps = {found.sizes[0]: per_image}
    steps[found.sizes[-1]] = per_image * draw(st.floats(0.5, 100))  # noise may turn them round
    workers = draw(st.integers(1, 1000))
    held_out = draw(counts), draw(counts)
    return found, Work(train, *held_out, steps, workers, population, draw(st.floats(0, 1000)))


@given(searches(), seconds, seconds)
def test_more_time_gives_no_smaller_plan(
    search: tuple[Limits, Work], first: float, second: float
) -> None:
    less, more = (largest(*search, time) for time in sorted((first, second)))
    assert all(a <= b for a, b in zip(astuple(less), astuple(more), strict=True))


@given(searches(), seconds)
def test_a_plan_fits_the_time_or_is_the_smallest_and_stays_within_its_limits(
    search: tuple[Limits, Work], time: float
) -> None:
    bounds, work = search
    plan, smallest = largest(bounds, work, time), largest(bounds, work, 0)
    assert plan == smallest or work.seconds_of(plan) <= time
    assert plan.image_size in bounds.sizes
    assert bounds.epochs[0] <= plan.epochs <= bounds.epochs[1]
    assert bounds.evaluations[0] <= plan.evaluations <= bounds.evaluations[1]


@given(searches())
def test_endless_time_gives_the_most_of_everything(search: tuple[Limits, Work]) -> None:
    bounds, work = search
    most = Plan(bounds.sizes[-1], bounds.epochs[1], bounds.evaluations[1])
    assert largest(bounds, work, float("inf")) == most


@given(searches())
def test_each_plan_takes_no_less_time_than_the_one_before(search: tuple[Limits, Work]) -> None:
    bounds, work = search
    times = [work.seconds_of(plan) for plan in plans(bounds, work.population)]
    assert all(a <= b for a, b in pairwise(times))


@given(searches(), seconds)
def test_layers_vary_as_soon_as_two_generations_of_the_smallest_plan_fit(
    search: tuple[Limits, Work], time: float
) -> None:
    bounds, work = search
    first = largest(bounds, work, 0)
    two = replace(first, evaluations=2 * work.population)
    if two.evaluations <= bounds.evaluations[1]:
        fits = work.seconds_of(two) <= time
        assert (largest(bounds, work, time).evaluations >= two.evaluations) == fits


@given(counts, st.sampled_from([96, 224, 300, 518]), st.none() | st.integers(1, 20_000))
def test_limits_follow_the_stated_rules(train: int, own: int, side: int | None) -> None:
    batch = batch_size(train)
    found = limits(train, batch, own, side)
    least, most = EPOCHS
    assert max(1, least // 3) <= found.epochs[0] <= found.epochs[1] <= most
    assert found.epochs[1] in (least, most) or found.epochs[1] * -(-train // batch) >= STEPS
    assert found.evaluations[1] == EVALUATIONS
    assert list(found.sizes) == sorted(set(found.sizes))
    assert found.sizes[-1] <= own
    if side is not None:
        assert all(size < side for size in found.sizes[:-1])  # no larger than it takes
    assert limits(train, batch, own, smaller=False).sizes == (own,)


@given(st.integers(1, 5000), st.integers(1, 100))
def test_a_set_value_is_the_only_one(epochs: int, evaluations: int) -> None:
    bounds = Limits((128,), (epochs, epochs), (evaluations, evaluations))
    assert list(plans(bounds)) == [Plan(128, epochs, evaluations)]


@pytest.mark.parametrize(
    ("workers", "evaluations", "rounds"), [(1, 7, 7), (4, 10, 3), (4, 25, 8), (64, 100, 10)]
)
def test_workers_wait_for_the_end_of_a_generation(
    workers: int, evaluations: int, rounds: int
) -> None:
    """A second evaluation of one worker takes as long as its images, at three passes a step."""
    work = Work(300, 30, 0, {64: 0.01}, workers)
    one = Work(300, 30, 0, {64: 0.01}, 1000)
    plan = Plan(64, 2, evaluations)
    fixed = one.seconds_of(Plan(64, 2, 10)) * 2 - one.seconds_of(Plan(64, 2, 20))
    each = one.seconds_of(Plan(64, 2, 10)) - fixed
    assert work.seconds_of(plan) - fixed == pytest.approx(rounds * each)
    assert each >= 0.01 * (2 * 300 + FORWARD * 330)


@given(st.floats(1e-6, 1), st.floats(1, 50), st.sampled_from(SIZES))
def test_between_two_sizes_the_time_of_a_step_is_linear_in_pixels(
    first: float, times: float, size: int
) -> None:
    work = Work(1, 1, 1, {64: first, 512: first * times})
    share = (size**2 - 64**2) / (512**2 - 64**2)
    assert work.per_image(size) == pytest.approx(first * (1 + (times - 1) * share))
