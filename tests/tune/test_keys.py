"""Keys of a search space: any text, nested or flat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune

from revo_ray.tune import CMAMVSearch
from revo_ray.tune.key_paths import variable_name
from tests.properties import examples
from tests.tune.calls import leaves, trajectory

KEYS = st.text("ab/~0. ", max_size=3)
PATHS = st.lists(st.lists(KEYS, min_size=1, max_size=3), min_size=1, max_size=5)


def loss(config: dict[str, Any]) -> float:
    return sum(value * weight for weight, value in enumerate(leaves(config), 1))


def nested(paths: list[list[str]]) -> dict[str, Any]:
    """A search space with a domain at each path that can have one, as Tune nests them."""
    space: dict[str, Any] = {}
    for *outer, last in paths:
        inner: Any = space
        for key in outer:
            inner = inner.setdefault(key, {}) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and last not in inner:
            inner[last] = tune.uniform(0, 1)
    return space


@given(paths=PATHS)
@examples(12)
def test_any_keys_give_the_search_of_plain_ones(paths: list[list[str]], tmp_path: Path) -> None:
    """Names and nesting change no value, also where joined names collide, and in a saved state."""
    space = nested(paths)
    count = len(leaves(space))
    plain = {f"key{number}": tune.uniform(0, 1) for number in range(count)}
    searcher = CMAMVSearch(space, "loss", "min", population=4)
    expected = trajectory(CMAMVSearch(plain, "loss", "min", population=4), loss, 14)
    configs = trajectory(searcher, loss, 9)
    searcher.save(str(tmp_path / "state"))
    again = CMAMVSearch(metric="loss", mode="min", population=4)
    again.restore(str(tmp_path / "state"))
    configs += trajectory(again, loss, 5, prefix="again")
    assert [leaves(config) for config in configs] == [leaves(config) for config in expected]
    assert all(shape(config) == shape(space) for config in configs)


def shape(value: Any) -> Any:
    return {key: shape(item) for key, item in value.items()} if isinstance(value, dict) else "value"


def test_keys_that_collide_when_joined_stay_apart() -> None:
    space = {"a/b": tune.uniform(0, 1), "a": {"b": tune.uniform(2, 3)}}
    for config in trajectory(CMAMVSearch(space, "loss", "min"), loss, 12):
        assert 0 <= config["a/b"] <= 1
        assert 2 <= config["a"]["b"] <= 3


@given(one=st.lists(KEYS, min_size=1, max_size=4), two=st.lists(KEYS, min_size=1, max_size=4))
@examples(200)
def test_no_two_paths_have_one_name(one: list[str], two: list[str]) -> None:
    assert (variable_name(tuple(one)) == variable_name(tuple(two))) == (one == two)


def test_simple_paths_have_the_names_of_earlier_saved_states() -> None:
    assert variable_name(("model", "layers", 0, "rate")) == "model/layers/0/rate"


def test_flat_and_nested_spellings_give_the_same_search() -> None:
    deep = {"net": {"rate": tune.loguniform(1e-4, 1), "depth": tune.randint(1, 9)}}
    flat = {"net/rate": tune.loguniform(1e-4, 1), "net/depth": tune.randint(1, 9)}
    one, two = (trajectory(CMAMVSearch(s, "loss", "min"), loss) for s in (deep, flat))
    assert [leaves(config) for config in one] == [leaves(config) for config in two]


def test_lists_and_tuples_stay_what_they_are() -> None:
    space = {"t": ((tune.uniform(0, 1), "x"), [tune.randint(0, 9), (tune.choice(["a", "b"]),)])}
    for config in trajectory(CMAMVSearch(space, "loss", "min"), lambda c: c["t"][0][0], 12):
        ((real, x), [whole, (kind,)]) = config["t"]
        assert isinstance(config["t"], tuple)
        assert isinstance(config["t"][0], tuple)
        assert isinstance(config["t"][1], list)
        assert 0 <= real <= 1
        assert x == "x"
        assert whole in range(9)
        assert kind in ("a", "b")


@pytest.mark.parametrize("key", [7, None, True, 1.5, ("a", 1), b"a"])
def test_keys_that_are_no_text_are_refused(key: Any) -> None:
    for space in (
        {key: tune.uniform(0, 1)},
        {"x": tune.uniform(0, 1), key: "constant"},
        {"net": {"x": tune.uniform(0, 1), key: {"y": 1}}},
        {"net": [{key: tune.uniform(0, 1)}]},
    ):
        with pytest.raises(ValueError, match="is no text, which Tune demands") as refused:
            CMAMVSearch(space, "loss", "min")
        assert repr(key) in str(refused.value)
