"""Coordinates of variables: each value has coordinates that decode to it, in every algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.evolve.algorithms import make_algorithm
from revo_ray.evolve.algorithms.base import levels
from revo_ray.evolve.algorithms.cmawm import Argmax
from revo_ray.evolve.algorithms.gaussian import Code, GaussianAlgorithm, Scale, Switch
from revo_ray.evolve.algorithms.sop import Polygon
from revo_ray.evolve.space import Categorical, Integer, Real, Variable
from tests.evolve.test_space import integers, reals
from tests.properties import examples

SMALL = st.builds(
    lambda low, size: Integer(low, low + size - 1), st.integers(-9, 9), st.integers(2, 12)
)
CHOICES = st.lists(
    st.one_of(st.integers(), st.text(max_size=3)), min_size=2, max_size=7, unique=True
)
CATEGORICAL = CHOICES.map(lambda choices: Categorical(tuple(choices)))
VARIABLES = st.one_of(reals(), integers(), SMALL, CATEGORICAL)


def values_of(variable: Variable, unit: float) -> list[Any]:
    """Some values of a variable; all of them if they are few."""
    if isinstance(variable, Real) or variable.size > 20:
        return [variable.from_unit(place) for place in (0.0, unit, 1.0)]
    return [variable.at(index) for index in range(variable.size)]


def encode(code: Code, value: Any) -> np.ndarray:
    """Coordinates that stand for a value."""
    variable = code.variable
    if isinstance(code, Scale):
        return np.array([variable.to_unit(value)])
    place = values_of(variable, 0.0).index(value)
    if isinstance(code, Switch):
        return np.array([float(place)])
    if isinstance(code, Argmax):
        return np.eye(code.width)[place]
    assert isinstance(code, Polygon)
    return code.points[place]


@pytest.mark.parametrize("algorithm", ["cma", "cmawm", "sop"])
@examples(40)
@given(
    variables=st.lists(VARIABLES, min_size=1, max_size=5),
    unit=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_every_value_has_coordinates_that_decode_to_it(
    algorithm: str, variables: list[Variable], unit: float, seed: int
) -> None:
    if algorithm == "cma":
        variables = [each for each in variables if isinstance(each, Real)] or [Real(0, 1)]
    named = {f"v{number}": variable for number, variable in enumerate(variables)}
    made = make_algorithm(algorithm, named, 4, 0.125, "depth", seed)
    assert isinstance(made, GaussianAlgorithm)
    assert set(made._places) == set(named)
    taken: list[int] = []
    for name, (code, place) in made._places.items():
        assert code.variable is named[name]
        taken += range(place.start, place.stop)
        for value in values_of(code.variable, unit):
            again = code.decode(encode(code, value))
            if isinstance(value, float):
                width = code.variable.high - code.variable.low  # type: ignore[union-attr]
                assert again == pytest.approx(value, rel=1e-9, abs=1e-9 * width)
            else:
                assert code.variable.key(again) == code.variable.key(value)
                assert type(again) is type(value)
    assert len(set(taken)) == len(taken)  # no coordinate stands for two variables
    sample, _ = made.ask()
    assert sample.keys() == named.keys()
    assert all(named[name].contains(value) for name, value in sample.items())


@examples(60)
@given(variable=SMALL)
def test_the_levels_of_an_integer_are_its_values_in_order(variable: Integer) -> None:
    places = levels(variable)
    assert places == sorted(places)
    assert [variable.from_unit(place) for place in places] == values_of(variable, 0.0)
