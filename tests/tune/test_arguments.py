"""Arguments of `CMAMVSearch` that are refused by name, and values that stay as they are."""

from __future__ import annotations

import threading
from collections import namedtuple
from typing import Any

import pytest
from ray import tune

from revo_ray.tune import CMAMVSearch

SPACE = {"x": tune.uniform(0, 1)}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"population": 4.5}, "population=4.5 must be a whole number from 4"),
        ({"population": 3}, "population=3 must be a whole number from 4"),
        ({"seed": None}, "seed=None must be a whole number from 0"),
        ({"lookahead": "2"}, "lookahead='2' must be a whole number from 0"),
        ({"repeats": True}, "repeats=True must be a whole number from 1"),
        ({"sigma": "1"}, "sigma='1' is no number"),
        ({"space": [SPACE]}, "is no dictionary"),
        ({"space": SPACE | {"lock": threading.Lock()}}, "cannot be copied"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CMAMVSearch(**({"space": SPACE} | wrong))


def test_a_named_tuple_stays_one() -> None:
    pair = namedtuple("pair", ["rate", "constant"])
    searcher = CMAMVSearch({"a": pair(tune.uniform(0, 1), 2)}, "loss", "min")
    config = searcher.suggest("t")
    assert config is not None
    assert isinstance(config["a"], pair)
    assert config["a"].constant == 2
