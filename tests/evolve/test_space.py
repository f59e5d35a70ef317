"""Spaces: values and positions are each other's inverse, and samples are identified by value."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.evolve.space import Categorical, Integer, Real, Space

SPACE = Space(
    {
        "lr": Real(1e-4, 1.0, log=True),
        "momentum": Real(0.0, 0.9, step=0.1),
        "layers": Integer(2, 10, step=2),
        "batch": Integer(8, 256, log=True),
        "fixed": Integer(3, 3),
        "frozen": Integer(0, 1),
        "betas": Categorical(([0.9, 0.99], [0.8, 0.9], {"auto": True}), weights=(2, 1, 1)),
        "only": Categorical(({"a": 1},)),
    }
)


@st.composite
def reals(draw: st.DrawFn) -> Real:
    log = draw(st.booleans())
    smallest = 1e-6 if log else -1e6
    low = draw(st.floats(smallest, 1e6))
    width = draw(st.floats(1e-3, 1e6))
    return Real(low, low * (1 + width) if log else low + width, log=log)


@st.composite
def integers(draw: st.DrawFn) -> Integer:
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -(2**39), 2**39))
    step = draw(st.integers(1, 1000))
    return Integer(low, low + step * draw(st.integers(1, 10**6)), log=log, step=step)


@given(reals(), st.floats(0, 1))
def test_a_real_keeps_its_position(variable: Real, unit: float) -> None:
    value = variable.from_unit(unit)
    assert variable.low <= value <= variable.high
    again = variable.from_unit(variable.to_unit(value))
    np.testing.assert_allclose(again, value, rtol=1e-9, atol=1e-9 * (variable.high - variable.low))


@given(integers(), st.data())
def test_every_integer_comes_back(variable: Integer, data: st.DataObject) -> None:
    value = variable.at(data.draw(st.integers(0, variable.size - 1)))
    assert 0 <= variable.to_unit(value) <= 1
    assert variable.from_unit(variable.to_unit(value)) == value


@given(integers(), st.floats(-10, 10))
def test_positions_outside_are_clipped(variable: Integer, unit: float) -> None:
    assert variable.contains(variable.from_unit(unit))
    if unit <= 0 or unit >= 1:
        assert variable.from_unit(unit) == (variable.low if unit <= 0 else variable.high)


def test_a_log_scale_gives_ratios_equal_distances() -> None:
    variable = Real(1e-4, 1.0, log=True)
    assert variable.from_unit(0.5) == pytest.approx(1e-2)
    assert variable.to_unit(1e-3) == pytest.approx(0.25)
    assert Integer(1, 100, log=True).from_unit(0.5) == 10


@given(st.floats(0.01, 0.5), st.floats(0, 1))
def test_a_step_rounds_to_multiples_and_stays_inside(step: float, unit: float) -> None:
    variable = Real(0.25, 1.75, step=step)
    value = variable.from_unit(unit)
    assert abs(value - variable.interpolate(unit)) <= step / 2 + 1e-9
    multiple = value / step
    assert value in (0.25, 1.75) or multiple == pytest.approx(round(multiple))
    assert variable.contains(value)


@given(st.floats(-3, 3), st.floats(0.01, 0.5), st.floats(1.1, 9), st.lists(st.floats(0, 1)))
def test_a_step_has_these_values_and_no_others(
    low: float, step: float, steps: float, units: list[float]
) -> None:
    variable = Real(low, low + step * steps, step=step)
    assert variable.size is not None
    values = [variable.at(i) for i in range(variable.size)]
    assert values == sorted(set(values))
    assert {variable.from_unit(unit) for unit in [0.0, *units, 1.0]} <= set(values)
    assert [variable.from_unit(variable.to_unit(value)) for value in values] == values


def test_random_is_uniform_on_each_scale() -> None:
    rng = np.random.default_rng(0)
    samples = [SPACE.random(rng) for _ in range(4000)]
    for sample in samples[:200]:
        SPACE.validate(sample)
    assert np.mean([sample["lr"] < 1e-2 for sample in samples]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([sample["batch"] < 46 for sample in samples]) == pytest.approx(0.5, abs=0.03)
    layers = np.array([sample["layers"] for sample in samples])
    for value in (2, 4, 6, 8, 10):
        assert np.mean(layers == value) == pytest.approx(0.2, abs=0.03)


def test_random_depends_on_the_generator_alone() -> None:
    first, again = (SPACE.random(np.random.default_rng(7)) for _ in range(2))
    assert first == again
    assert first != SPACE.random(np.random.default_rng(8))


def test_samples_survive_json() -> None:
    sample = SPACE.random(np.random.default_rng(0))
    again = json.loads(json.dumps(sample))
    SPACE.validate(again)
    assert SPACE.key(again) == SPACE.key(sample)


def test_keys_tell_samples_apart() -> None:
    rng = np.random.default_rng(0)
    sample = SPACE.random(rng)
    assert hash(SPACE.key(sample)) == hash(SPACE.key(dict(sample)))
    for name, other in {
        "lr": sample["lr"] * 1.0001,
        "batch": sample["batch"] % 256 + 8,
        "betas": next(c for c in SPACE["betas"].choices if c != sample["betas"]),  # type: ignore[union-attr]
    }.items():
        assert SPACE.key(sample) != SPACE.key({**sample, name: other})


def test_keys_do_not_depend_on_the_number_type_or_on_list_against_tuple() -> None:
    space = Space({"x": Real(0, 1), "n": Integer(0, 5), "c": Categorical(((1, (2,)), (3,)))})
    assert space.key({"x": 1.0, "n": 2, "c": (1, (2,))}) == space.key(
        {"x": 1, "n": np.int64(2), "c": [1, [2]]}
    )


def test_choices_of_equal_value_and_other_type_stay_apart() -> None:
    variable = Categorical((1, True, 1.0, "1"))
    assert [variable.index(choice) for choice in variable.choices] == [0, 1, 2, 3]


def test_array_choices_are_found() -> None:
    choices = (np.zeros(2), np.ones(2))
    assert Categorical(choices).index(choices[1]) == 1


def test_constants_are_in_samples_and_not_searched() -> None:
    assert SPACE.constants == {"fixed": 3, "only": {"a": 1}}
    assert list(SPACE.searched) == ["lr", "momentum", "layers", "batch", "frozen", "betas"]
    assert list(SPACE.random(np.random.default_rng(0))) == list(SPACE)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lr": 2.0}, "lr=2.0"),
        ({"lr": math.nan}, "lr=nan"),
        ({"lr": "0.1"}, "lr='0.1'"),
        ({"momentum": 0.15}, "momentum=0.15"),
        ({"layers": 3}, "layers=3"),
        ({"layers": 12}, "layers=12"),
        ({"layers": 4.0}, "layers=4.0"),
        ({"frozen": True}, "frozen=True"),
        ({"betas": [0.9]}, "betas="),
        ({"fixed": 4}, "fixed=4"),
        ({"extra": 1}, "extra"),
    ],
)
def test_validate_names_what_is_wrong(change: dict[str, object], named: str) -> None:
    sample = SPACE.random(np.random.default_rng(0))
    SPACE.validate(sample)
    with pytest.raises(ValueError, match=named):
        SPACE.validate({**sample, **change})


def test_validate_names_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"missing.*batch"):
        SPACE.validate({})


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: Real(1, 1), "low=1 .*Categorical"),
        (lambda: Real(2, 1), "low=2"),
        (lambda: Real(0, math.inf), "high=inf"),
        (lambda: Real(math.nan, 1), "low=nan"),
        (lambda: Real(-1e308, 1e308), "overflows"),
        (lambda: Real(0, 1, log=True), "low > 0"),
        (lambda: Real(0, 1, step=0), "step=0"),
        (lambda: Real(0, 1, step=2), "step=2"),
        (lambda: Real(0, 1, start=1.5), "start=1.5"),
        (lambda: Integer(2, 1), "low=2"),
        (lambda: Integer(0, 2.5), "high=2.5"),  # type: ignore[arg-type]
        (lambda: Integer(0, 2**60), "use Real"),
        (lambda: Integer(0, 5, log=True), "low > 0"),
        (lambda: Integer(0, 5, step=2), "high=4"),
        (lambda: Integer(0, 5, step=0), "step=0"),
        (lambda: Integer(0, 5, start=6), "start=6"),
        (lambda: Integer(0, 5, start=math.nan), "start=nan"),
        (lambda: Categorical(()), "at least 2"),
        (lambda: Categorical("abc"), "'abc'"),  # type: ignore[arg-type]
        (lambda: Categorical((1, 2, 1)), "1 stands twice"),
        (lambda: Categorical((1, 2), weights=(1,)), "1 weights for 2"),
        (lambda: Categorical((1, 2), weights=(1, 0)), "positive"),
        (lambda: Categorical((1, 2), weights=(1, 1e-9)), "leave out"),
        (lambda: Categorical((1, 2), weights=(1, math.nan)), "positive"),
        (lambda: Space({"x": 3}), "'x': 3"),  # type: ignore[dict-item]
        (lambda: Space({1: Real(0, 1)}), "1: Real"),  # type: ignore[dict-item]
    ],
)
def test_wrong_definitions_say_what_and_how_out(build: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        build()  # type: ignore[operator]


def test_probabilities_are_the_normalised_weights() -> None:
    assert Categorical(("a", "b"), weights=(3, 1)).probabilities.tolist() == [0.75, 0.25]
    assert Categorical(("a", "b", "c", "d")).probabilities.tolist() == [0.25] * 4


def test_start_is_the_middle_of_the_scale_by_default() -> None:
    assert Real(1e-4, 1, log=True).start_unit == 0.5
    assert Real(1e-4, 1, log=True, start=1e-3).start_unit == pytest.approx(0.25)
    assert Integer(0, 10, start=2.5).start_unit == 0.25


def test_choices_and_weights_may_be_lists() -> None:
    assert Categorical([0, 1], [1, 3]) == Categorical((0, 1), (1, 3))  # type: ignore[arg-type]
    assert hash(Categorical([0, 1], [1, 3])) == hash(Categorical((0, 1), (1, 3)))  # type: ignore[arg-type]
