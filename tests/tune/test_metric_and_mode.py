"""Metric and mode: one name and one word, given in one of two places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray import tune

from revo_ray.tune import CMAMVSearch
from tests.tune.calls import trajectory

SPACE = {"x": tune.uniform(0, 1), "k": tune.choice(["a", "b"])}


@pytest.mark.parametrize("place", ["constructor", "TuneConfig"])
@pytest.mark.parametrize(
    ("metric", "mode", "says"),
    [
        (["loss"], "min", "metric=.*optimises one value; report a weighted sum"),
        (("loss", "size"), ["min", "max"], "metric=.*optimises one value"),
        (7, "min", "metric=7 is no name; give the key that trials report"),
        ("", "min", "metric='' is no name"),
        ("loss", ["min"], "mode=.*is neither 'min' nor 'max'"),
        ("loss", "minimize", "mode='minimize' is neither 'min' nor 'max'"),
        ("loss", "MIN", "mode='MIN' is neither"),
        ("loss", "", "mode='' is neither"),
        ("loss", -1, "mode=-1 is neither"),
    ],
)
def test_other_metrics_and_modes_are_refused(place: str, metric: Any, mode: Any, says: str) -> None:
    def give() -> None:
        if place == "constructor":
            CMAMVSearch(SPACE, metric, mode)
        else:
            CMAMVSearch().set_search_properties(metric, mode, SPACE)

    with pytest.raises(ValueError, match=says):
        give()


@pytest.mark.parametrize(
    ("space", "metric", "mode", "missing"),
    [
        (None, None, None, "no search space and no metric and no mode"),
        (None, "loss", "min", "no search space"),
        (SPACE, None, "min", "no metric"),
        (SPACE, "loss", None, "no mode"),
        (SPACE, None, None, "no metric and no mode"),
    ],
)
def test_missing_ones_are_named_with_the_place_to_give_them(
    space: Any, metric: Any, mode: Any, missing: str
) -> None:
    searcher = CMAMVSearch(space, metric, mode)
    says = f"has {missing}: pass them to it, or param_space to the Tuner and metric and mode to"
    with pytest.raises(RuntimeError, match=says):
        searcher.suggest("t")
    with pytest.raises(RuntimeError, match=says):
        searcher.add_evaluated_point({"x": 0.5, "k": "a"}, 1.0)


def test_each_may_be_given_in_either_place_or_alike_in_both() -> None:
    expected = trajectory(CMAMVSearch(SPACE, "loss", "max"), lambda c: c["x"])
    for ours, theirs in [
        ((None, None), ("loss", "max")),
        (("loss", None), (None, "max")),
        ((None, "max"), ("loss", None)),
        (("loss", "max"), ("loss", "max")),
        (("loss", "max"), (None, None)),
    ]:
        for space in (None, SPACE):
            searcher = CMAMVSearch(space, *ours)
            assert searcher.set_search_properties(*theirs, SPACE)
            assert trajectory(searcher, lambda c: c["x"]) == expected


@pytest.mark.parametrize("space", [None, SPACE])
@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        (("loss", "min"), ("acc", "min"), "metric is 'loss' for CMAMVSearch and 'acc' in tune.Tun"),
        (("loss", "min"), ("loss", "max"), "mode is 'min' for CMAMVSearch and 'max' in tune.TuneC"),
        (("loss", None), ("acc", "max"), "metric is 'loss' .*; give it in one place"),
        ((None, "min"), ("acc", "max"), "mode is 'min' .*; give it in one place"),
    ],
)
def test_different_ones_in_both_places_are_refused(
    space: Any, ours: Any, theirs: Any, says: str
) -> None:
    searcher = CMAMVSearch(space, *ours)
    with pytest.raises(ValueError, match=says):
        searcher.set_search_properties(*theirs, SPACE)
    assert (searcher.metric, searcher.mode) == ours


def test_metric_and_mode_come_with_constants_if_the_space_is_given_here() -> None:
    searcher = CMAMVSearch(SPACE)
    assert searcher.set_search_properties("loss", "min", {"epochs": 3})
    assert (searcher.metric, searcher.mode) == ("loss", "min")
    assert set(searcher.suggest("t") or ()) == set(SPACE)


def test_a_second_time_is_harmless_and_another_space_is_not_taken() -> None:
    once, twice = CMAMVSearch(seed=2), CMAMVSearch(seed=2)
    assert once.set_search_properties("loss", "min", SPACE)
    expected = trajectory(once, lambda c: c["x"], 25)
    assert twice.set_search_properties("loss", "min", SPACE)
    assert twice.set_search_properties("loss", "min", dict(SPACE))
    begun = trajectory(twice, lambda c: c["x"], 13)
    assert twice.set_search_properties("loss", "min", SPACE)
    for other in (
        {"x": tune.uniform(0, 1)},
        SPACE | {"x": tune.uniform(0, 2)},
        SPACE | {"k": tune.choice(["a", "c"])},
        SPACE | {"constant": 1},
        {"k": SPACE["k"], "x": SPACE["x"]},
    ):
        assert not twice.set_search_properties("loss", "min", other)
    assert begun + trajectory(twice, lambda c: c["x"], 12, prefix="more") == expected


@pytest.mark.parametrize(("metric", "mode"), [("acc", "min"), ("loss", "max")])
def test_a_state_of_another_metric_or_mode_is_refused(
    metric: str, mode: str, tmp_path: Path
) -> None:
    searcher = CMAMVSearch(SPACE, "loss", "min")
    trajectory(searcher, lambda c: c["x"], 3)
    searcher.save(str(tmp_path / "state"))
    with pytest.raises(ValueError, match=r"is '.*' for CMAMVSearch and '.*' in .*state"):
        CMAMVSearch(SPACE, metric, mode).restore(str(tmp_path / "state"))
