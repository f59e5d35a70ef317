"""`search.stop_after`: durations as people write them, read as pandas reads them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.errors import UserError
from revo_ray.settings.duration import read_time, time_text
from revo_ray.settings.schema import SearchConfig
from tests.properties import examples


def stop_after(text: Any) -> timedelta | None:
    return SearchConfig.load(None, [f"search.stop_after={text}"]).search.stop_after


@given(
    parts=st.tuples(*[st.none() | st.integers(0, 400)] * 3).filter(any),
    space=st.sampled_from(["", " "]),
)
@examples(40)
def test_hours_minutes_and_seconds_are_added(parts: tuple[int | None, ...], space: str) -> None:
    named = [f"{n}{unit}" for n, unit in zip(parts, "hms", strict=True) if n is not None]
    text = space.join(named)
    assert stop_after(text) == pd.Timedelta(text).to_pytimedelta()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1.5H", 5400), ("45", 45), ("0.25", 0.25), ('"45"', 45)],
)
def test_a_number_is_of_seconds(text: str, seconds: float) -> None:
    assert stop_after(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["soon", "2 weeks", "h", "-1h", "0", "0s", "-3", "[2h]", "true"])
def test_another_text_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UserError, match=r"^search\.stop_after: give a time such as 2h, 90m.*--set"):
        stop_after(text)


@pytest.mark.parametrize("text", ["45s", "26h", "1h30m", "0.25", "null"])
def test_it_comes_back_from_a_written_configuration(text: str) -> None:
    config = SearchConfig.load(None, [f"search.stop_after={text}"])
    written = yaml.safe_dump(config.model_dump(mode="json"))
    assert SearchConfig.model_validate(yaml.safe_load(written)).search == config.search


@given(
    st.timedeltas(timedelta(microseconds=1), timedelta(days=49_000))
    | st.integers(1, 10**13).map(lambda seconds: timedelta(seconds=seconds))
)
def test_a_time_that_is_printed_reads_back(time: timedelta) -> None:
    assert read_time(time_text(time)) == time


@pytest.mark.parametrize("text", ["300h", "2m", "90s", "1.5s", "45m", "61s", "7199s"])
def test_a_time_is_printed_in_its_largest_whole_unit(text: str) -> None:
    assert time_text(read_time(text)) == text
