"""`Choices` finds what a search from the first value to the last would find."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.evolve.choices import Choices, equal, identical
from revo_ray.evolve.space import Categorical
from tests.properties import examples

ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, 1.0, -0.0, float("inf")]),
    st.text("ab", max_size=1),
    st.just(np.float64(1.0)),
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        st.sets(st.integers(0, 2), max_size=2),
        st.frozensets(st.integers(0, 2), max_size=2),
        st.lists(st.integers(0, 1), max_size=1).map(np.array),
    ),
    max_leaves=4,
)


def linear(values: list[Any], wanted: Any) -> int | None:
    for same in (identical, equal):
        for number, value in enumerate(values):
            if same(value, wanted):
                return number
    return None


@given(values=st.lists(VALUES, max_size=8), wanted=VALUES)
@examples(200)
def test_it_finds_what_a_linear_search_finds(values: list[Any], wanted: Any) -> None:
    distinct: list[Any] = []
    for value in values:
        if not any(identical(other, value) for other in distinct):
            distinct.append(value)
    choices = Choices(distinct)
    for each in [wanted, *values]:
        assert choices.number(each) == linear(distinct, each)
    if len(distinct) < len(values):
        with pytest.raises(ValueError, match="stands twice"):
            Choices(values)


@pytest.mark.parametrize(
    "make", [int, str, lambda n: [n], lambda n: {"a": [n]}, lambda n: (n, None)]
)
def test_thousands_of_choices_cost_no_time(make: Any) -> None:
    began = time.process_time()
    variable = Categorical(tuple(make(number) for number in range(20_000)))
    assert [variable.index(make(number)) for number in range(20_000)] == list(range(20_000))
    assert time.process_time() - began < 3  # comparing all pairs takes minutes
