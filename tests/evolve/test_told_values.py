"""Failures are told as finite values, which the worst success gives."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from revo_ray.evolve.told_values import OneByOne, Outcome, generation_values
from tests.properties import examples

VALUES = st.one_of(st.floats(-1e3, 1e3), st.sampled_from([None, math.nan, math.inf]))


class Recorder:
    """An optimiser that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, float]] = []

    def ask(self) -> int:
        raise AssertionError("nobody asks")

    def tell(self, evaluated: Sequence[tuple[int, float]]) -> None:
        self.told += evaluated


@examples(100)
@given(st.lists(VALUES, max_size=8))
def test_each_outcome_is_told_once_and_a_failure_as_the_worst_value_so_far(
    values: list[float | None],
) -> None:
    recorder = Recorder()
    teller = OneByOne[int](recorder)
    expected: dict[int, float] = {}
    for number, value in enumerate(values):
        teller.tell(number, Outcome(value))
        finite = [v for v in values[: number + 1] if v is not None and math.isfinite(v)]
        if finite:
            for each, seen in enumerate(values[: number + 1]):
                own = seen is not None and math.isfinite(seen)
                expected.setdefault(each, seen if own and seen is not None else max(finite))
        assert len(recorder.told) == len(expected)
        assert dict(recorder.told) == expected


@examples(100)
@given(st.lists(VALUES, min_size=1, max_size=8))
def test_a_generation_is_told_finite_values_in_the_order_of_its_outcomes(
    values: list[float | None],
) -> None:
    finite = [v for v in values if v is not None and math.isfinite(v)]
    told = generation_values([Outcome(value) for value in values])
    if len(set(finite)) < 2:
        assert told is None
    else:
        assert told == [v if v in finite else max(finite) for v in values]
