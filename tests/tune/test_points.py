"""Points that a user gives: `points_to_evaluate`, `evaluated_rewards`, `add_evaluated_point`."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune
from ray.tune.impl.placeholder import create_resolvers_map, inject_placeholders
from ray.tune.search.optuna import OptunaSearch

from revo_ray.tune import CMAMVSearch
from tests.tune.calls import plain, trajectory

SPACE: dict[str, Any] = {
    "lr": tune.loguniform(1e-4, 1.0),
    "net": {"depth": tune.randint(1, 9), "kind": tune.choice(["a", (1, 2), None])},
    "layers": [tune.uniform(0, 1), {"freeze": tune.choice([True, False])}],
    "step": tune.quniform(0, 1, 0.1),
    "a/b": tune.uniform(0, 1),
    "epochs": 3,
    "data": {"root": "here", "empty": {}},
}
REALS = {"x": tune.uniform(-1, 1), "net": {"y": tune.loguniform(1e-3, 1)}}


def point(depth: int = 2, lr: float = 0.5) -> dict[str, Any]:
    return {
        "lr": lr,
        "net": {"depth": depth, "kind": (1, 2)},
        "layers": [0.25, {"freeze": False}],
        "step": 0.3,
        "a/b": 0.75,
    }


FLAT = {
    "lr": 0.5,
    "net/depth": 2,
    "net/kind": (1, 2),
    "layers/0": 0.25,
    "layers/1/freeze": False,
    "step": 0.3,
    "a": {"b": 0.75},
}


def loss(config: dict[str, Any]) -> float:
    return float(
        (math.log10(config["lr"]) + 2) ** 2 + config["net"]["depth"] + config["layers"][0] / 10
    )


def with_constants(given: dict[str, Any]) -> dict[str, Any]:
    return given | {"epochs": 3, "data": {"root": "here", "empty": {}}}


def test_points_come_first_in_order_and_more_than_a_generation_of_them() -> None:
    points = [point(depth, 10.0**-number) for number in range(4) for depth in range(1, 9)]
    configs = trajectory(CMAMVSearch(SPACE, "loss", "min", points), loss, 50)
    assert configs[:32] == [with_constants(each) for each in points]
    assert len({repr(config) for config in configs}) > 40


@pytest.mark.parametrize("algorithm", ["catcmawm", "cmawm", "sop", "cma"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_evaluated_points_count_as_if_they_had_been_run(algorithm: str, mode: Any) -> None:
    """In every algorithm, in the user's direction: the rest of the search is the same."""
    space = REALS if algorithm == "cma" else SPACE
    points: list[dict[str, Any]] = [
        {"x": n / 20, "net": {"y": 0.1}} if algorithm == "cma" else point(1 + n % 8, 0.9**n)
        for n in range(13)
    ]

    def value(config: dict[str, Any]) -> float:
        found = config["x"] ** 2 + config["net"]["y"] if algorithm == "cma" else loss(config)
        return found if mode == "min" else -found

    def make(rewards: list[float] | None) -> CMAMVSearch:
        return CMAMVSearch(
            space, "loss", mode, points, rewards, algorithm=algorithm, lookahead=2, seed=1
        )

    run = trajectory(make(None), value, 40)
    known = trajectory(make([value(each) for each in points]), value, 27)
    assert known == run[13:]
    added = CMAMVSearch(space, "loss", mode, algorithm=algorithm, lookahead=2, seed=1)
    for each in points:
        added.add_evaluated_point(each, value(each))
    assert trajectory(added, value, 27) == known


def test_a_search_without_points_is_the_search_of_before() -> None:
    bare = trajectory(CMAMVSearch(SPACE, "loss", "min"), loss, 25)
    for nothing in (None, []):
        assert trajectory(CMAMVSearch(SPACE, "loss", "min", nothing, nothing), loss, 25) == bare


@pytest.mark.parametrize(
    "spelling",
    [
        FLAT,
        point() | {"net": {"kind": [1, 2], "depth": 2.0}},
        point() | {"a/b": 0.75, "layers": (0.25, {"freeze": False})},
        with_constants(point()) | {"__trial_index__": 3},
        with_constants(FLAT) | {"data/root": "here", "data": {}},
        {"net": {"depth": np.int64(2)}, "net/kind": (1, 2), "layers/0": 0.25}
        | {"layers/1": {"freeze": np.False_}, "step": np.float64(0.3), "a/b": 0.75}
        | {"lr": np.float64(0.5)},
    ],
)
def test_a_point_may_be_nested_or_flat(spelling: dict[str, Any]) -> None:
    first = CMAMVSearch(SPACE, "loss", "min", [spelling]).suggest("t")
    assert first == with_constants(point())
    assert plain(first) == plain(with_constants(point()))
    assert type(first["net"]["depth"]) is int


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in point().items() if name != key}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, r"lr, net/depth, net/kind, layers/0, layers/1/freeze, step, \['a/b'\]: missing"),
        (without("lr"), "lr: missing; a point has a value of every variable"),
        (point() | {"net": {"depth": 2}}, "net/kind: missing"),
        (point() | {"layers": [0.5]}, "layers/1/freeze: missing"),
        (point() | {"lr": 2.0}, r"lr: 2.0 is no number from 0.0001 to 1.0"),
        (point() | {"lr": math.nan}, "lr: nan is no number"),
        (point() | {"lr": "0.5"}, "lr: '0.5' is no number"),
        (point() | {"lr": True}, "lr: True is no number"),
        (point() | {"lr": tune.uniform(0, 1)}, "lr: <ray.* is no number"),
        (point(9), "net/depth: 9 is no integer from 1 to 8"),
        (point() | {"step": 0.35}, "step: 0.35 is no number from 0.0 to 1.0 in steps of 0.1"),
        (point() | {"net": {"depth": 2.5, "kind": "a"}}, "net/depth: 2.5 is no integer"),
        (point() | {"net": {"depth": 2, "kind": "z"}}, r"net/kind: 'z' is none of the choices \["),
        (point() | {"momentum": 0.9}, "momentum: the search space has no such key"),
        (point() | {"momentum": {"of": 1}}, "momentum/of: the search space has no such key"),
        (point() | {"layers": [0.5, {"freeze": True}, 7]}, "layers/2: the search space has no"),
        (point() | {"net": 3}, "net: the search space has keys below it, not a value"),
        (point() | {"net/depth": 2}, "net/depth: it is given twice; leave one out"),
        (point() | {"epochs": 4}, "epochs: 4 is not the constant 3 of the search space"),
        (point() | {"data": {"root": "x"}}, "data/root: 'x' is not the constant 'here'"),
        (point() | {"data": {"empty": {"x": 1}}}, "data/empty: {'x': 1} is not the constant {}"),
        ([0.5], r"\[0.5\] is no dictionary of the search space's keys"),
        (None, "None is no dictionary of the search space's keys"),
    ],
)
def test_a_point_that_does_not_fit_is_refused_by_its_key(wrong: Any, says: str) -> None:
    for rewards in (None, [1.0, 2.0]):
        with pytest.raises(ValueError, match=rf"^points_to_evaluate\[1\]: {says}") as refused:
            CMAMVSearch(SPACE, "loss", "min", [point(), wrong], rewards)
        assert len(str(refused.value).splitlines()) == 1
        late = CMAMVSearch(points_to_evaluate=[point(), wrong], evaluated_rewards=rewards)
        with pytest.raises(ValueError, match=rf"^points_to_evaluate\[1\]: {says}"):
            late.set_search_properties("loss", "min", SPACE)
    searcher = CMAMVSearch(SPACE, "loss", "min")
    with pytest.raises(ValueError, match=f"^parameters: {says}"):
        searcher.add_evaluated_point(wrong, 1.0)
    untouched = CMAMVSearch(SPACE, "loss", "min")
    assert trajectory(searcher, loss, 12) == trajectory(untouched, loss, 12)


def test_a_flat_key_that_may_be_two_is_refused() -> None:
    space = {"a/b": {"c": tune.uniform(0, 1)}, "a": {"b/c": tune.uniform(0, 1)}}
    nested = {"a/b": {"c": 0.5}, "a": {"b/c": 0.25}}
    assert CMAMVSearch(space, "loss", "min", [nested]).suggest("t") == nested
    with pytest.raises(ValueError, match=r"a/b/c: it may be \['a/b'\]\['c'\] and \['a'\]\['b/c'\]"):
        CMAMVSearch(space, "loss", "min", [{"a/b/c": 0.5}])


@pytest.mark.parametrize(
    ("points", "rewards", "says"),
    [
        ({"lr": 1}, None, "points_to_evaluate={'lr': 1} is no list; give a list"),
        ("lr", None, "points_to_evaluate='lr' is no list"),
        (7, None, "points_to_evaluate=7 is no list"),
        ([point()], 1.0, "evaluated_rewards=1.0 is no list"),
        ([point()], [1.0, 2.0], "evaluated_rewards has 2 values for 1 points_to_evaluate"),
        (None, [1.0], "evaluated_rewards has 1 values for 0 points_to_evaluate"),
        ([point()], ["1"], r"evaluated_rewards\[0\]='1' is no number; give the metric's value"),
        ([point()], [None], r"evaluated_rewards\[0\]=None is no number"),
        ([point()], [True], r"evaluated_rewards\[0\]=True is no number"),
    ],
)
def test_lists_that_are_none_or_do_not_fit_are_refused(
    points: Any, rewards: Any, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        CMAMVSearch(SPACE, "loss", "min", points, rewards)


def test_objects_of_a_tuner_are_refused_with_the_way_out() -> None:
    marker = object()
    space = {"x": tune.uniform(0, 1), "layer": tune.choice([marker, None]), "other": marker}
    hidden = inject_placeholders(dict(space), create_resolvers_map())
    searcher = CMAMVSearch(points_to_evaluate=[{"x": 0.5, "layer": None, "other": marker}])
    assert searcher.set_search_properties("loss", "min", hidden)
    assert (searcher.suggest("t") or {})["x"] == 0.5
    searcher = CMAMVSearch(points_to_evaluate=[{"x": 0.5, "layer": marker}])
    with pytest.raises(ValueError, match=r"layer: .*give the search space to CMAMVSearch itself"):
        searcher.set_search_properties("loss", "min", hidden)


def test_failed_and_pruned_points() -> None:
    """A failure counts as the worst; a pruned point by its value, or else its last one."""

    def after(**how: Any) -> list[Any]:
        searcher = CMAMVSearch(SPACE, "loss", "min")
        searcher.add_evaluated_point(point(), **how)
        return trajectory(searcher, loss, 25)

    failures = [after(value=None), after(value=math.nan), after(value=-5.0, error=True)]
    failures.append(after(value=None, pruned=True))
    assert failures == [failures[0]] * 4
    good = after(value=-5.0)
    assert good != failures[0]
    assert after(value=-5.0, pruned=True, intermediate_values=[1.0]) == good
    assert after(value=None, pruned=True, intermediate_values=[1.0, -5.0]) == good
    assert after(value=-5.0, intermediate_values=[1.0]) == good
    with pytest.raises(ValueError, match="value='x' is no number"):
        after(value="x")


def test_a_point_that_is_added_later_takes_the_next_place_that_is_free() -> None:
    """In each of two searches at once, whichever trials have ended by then."""

    def run(rng: random.Random) -> dict[int, Any]:
        searcher = CMAMVSearch(SPACE, "loss", "min", [point(3)], population=4, lookahead=1)
        first = {f"t{n}": searcher.suggest(f"t{n}") for n in range(5)}
        for number in range(9):
            searcher.add_evaluated_point(point(1 + number % 8, 0.1), 0.5)
        live = {trial: config for trial, config in first.items() if config}
        count = 5
        while len(searcher._begin().told) < 30:
            trial = rng.choice(list(live))
            searcher.on_trial_complete(trial, {"loss": loss(live.pop(trial))})
            while (config := searcher.suggest(f"t{count}")) is not None:
                live[f"t{count}"] = config
                count += 1
        told = searcher._begin().told
        return {number: told[number] for number in sorted(told)[:25]}

    once = run(random.Random(0))
    assert [once[number][0]["lr"] for number in range(5, 14)] == [0.1] * 9
    assert all(run(random.Random(seed)) == once for seed in range(1, 5))


@pytest.mark.parametrize("evaluated", [False, True])
@pytest.mark.parametrize("finished", [0, 3, 14, 21])
@pytest.mark.parametrize("bare", [False, True])
def test_save_and_restore_keep_the_points(
    tmp_path: Path, evaluated: bool, finished: int, bare: bool
) -> None:
    points = [point(1 + n % 8, 0.9**n) for n in range(13)]
    rewards = [loss(each) for each in points] if evaluated else None

    def make(space: Any = SPACE) -> CMAMVSearch:
        return CMAMVSearch(space, "loss", "min", points, rewards, seed=5, lookahead=2)

    whole = trajectory(make(), loss, 40)
    searcher = make()
    assert trajectory(searcher, loss, finished) == whole[:finished]
    if finished == 21:
        searcher.add_evaluated_point(point(7), 1.0)
    searcher.save(str(tmp_path / "state"))
    restored = make(None) if bare else make()
    restored.restore(str(tmp_path / "state"))
    rest = trajectory(searcher, loss, 40 - finished, prefix="rest")
    assert trajectory(restored, loss, 40 - finished, prefix="rest") == rest
    assert rest == whole[finished:] or finished == 21
    other = CMAMVSearch(SPACE, "loss", "min", [point(8)], seed=5, lookahead=2)
    if finished or evaluated or rest:
        with pytest.raises(ValueError, match="was saved with other points_to_evaluate"):
            other.restore(str(tmp_path / "state"))


def test_a_state_without_points_is_not_taken_with_points(tmp_path: Path) -> None:
    searcher = CMAMVSearch(SPACE, "loss", "min")
    trajectory(searcher, loss, 3)
    searcher.save(str(tmp_path / "state"))
    with pytest.raises(ValueError, match="was saved with other points_to_evaluate"):
        CMAMVSearch(SPACE, "loss", "min", [point()]).restore(str(tmp_path / "state"))


def test_optuna_takes_the_same_arguments() -> None:
    """The names and the order of Ray's own searcher, and its points come first, too."""
    flat = [{"x": 0.5, "net/y": 0.01}, {"x": -0.5, "net/y": 0.1}]
    nested = [{"x": 0.5, "net": {"y": 0.01}}, {"x": -0.5, "net": {"y": 0.1}}]
    for make in (OptunaSearch, CMAMVSearch):
        searcher = make(REALS, "loss", "min", flat)
        assert [searcher.suggest(f"t{n}") for n in range(2)] == nested
        evaluated = make(REALS, "loss", "min", points_to_evaluate=flat, evaluated_rewards=[1, 2])
        assert evaluated.suggest("t") not in nested
