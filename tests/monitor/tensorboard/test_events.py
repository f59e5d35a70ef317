"""Histograms of any numbers, also of those that floating point hardly tells apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.monitor.tensorboard import events
from tests.properties import examples


@given(
    first=st.floats(-1e9, 1e9),
    steps=st.lists(st.integers(0, 200), max_size=8),
    wide=st.floats(0, 1e9),
)
@examples(100)
def test_every_value_is_in_a_bucket(first: float, steps: list[int], wide: float) -> None:
    near = [first + step * float(np.spacing(abs(first))) for step in steps]
    for values in (np.array([first, *near]), np.array([first, *near, first + wide])):
        found = events.histogram("any", values).histo
        assert sum(found.bucket) == found.num == len(values)
        assert np.all(np.diff(found.bucket_limit) > 0)
        assert found.bucket_limit[0] <= found.min <= found.max <= found.bucket_limit[-1]
        assert found.sum == pytest.approx(values.sum())
