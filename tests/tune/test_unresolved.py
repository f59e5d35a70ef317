"""Nothing that is unresolved reaches a trainable: it is refused with its key and the way out."""

from __future__ import annotations

import functools
from collections import OrderedDict, UserDict
from typing import Any

import pytest
from ray import tune
from ray.tune.impl.placeholder import (
    create_resolvers_map,
    inject_placeholders,
    resolve_placeholders,
)
from ray.tune.search.sample import Categorical, Domain, Function

from revo_ray.tune import CMAMVSearch
from tests.tune.calls import leaves, trajectory

REAL = tune.uniform(0, 1)
GRID = tune.grid_search([1, 2])
FUNCTION = tune.sample_from(lambda config: 1)
UNRESOLVED: dict[str, tuple[Any, str]] = {
    "domain": (REAL, "no domain inside a tune.choice; give it a key of its own"),
    "choice": (tune.choice([1, 2]), "no domain inside a tune.choice; give it a key of its own"),
    "normal": (tune.randn(), "no domain inside a tune.choice; give it a key of its own"),
    "grid": (GRID, "a grid_search cannot be evolved; use tune.choice"),
    "sample_from": (FUNCTION, "sample_from|no domain inside"),
    "eval": ({"eval": "spec.config.x"}, "an eval cannot be evolved; compute the value in the"),
}
WRAPS: dict[str, Any] = {
    "alone": lambda value: value,
    "list": lambda value: [1, value],
    "tuple": lambda value: (value, 1),
    "dict": lambda value: {"k": 1, "v": value},
    "deep": lambda value: {"k": [({"v": [value]},)]},
    "ordered": lambda value: OrderedDict(k=1, v=value),
}


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("kind", UNRESOLVED)
def test_no_choice_holds_anything_unresolved(kind: str, wrap: str) -> None:
    value, says = UNRESOLVED[kind]
    space = {"x": REAL, "net": {"opt": tune.choice(["a", WRAPS[wrap](value)])}}
    with pytest.raises(ValueError, match=f"^net/opt: .*({says})"):
        CMAMVSearch(space, "loss", "min")


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (GRID, "a grid_search cannot be evolved; use tune.choice"),
        (Categorical([1, 2]).grid(), "a grid_search cannot be evolved; use tune.choice"),
        (FUNCTION, "sample_from cannot be evolved, .*; compute the value in the trainable"),
        ({"eval": "1 + 1"}, "an eval cannot be evolved; compute the value in the trainable"),
        (lambda config: config["x"], "Tune calls no lambda, .*; compute the value in the train"),
        (tune.randn(0, 1), "needs bounds, so it takes uniform, loguniform"),
        (tune.qrandn(0, 1, 0.5), "needs bounds, so it takes uniform, loguniform"),
        (tune.search.sample.Float(None, None), "inf is no bound; use a finite number"),
    ],
)
def test_values_that_cannot_be_evolved_are_refused(value: Any, says: str, wrap: str) -> None:
    with pytest.raises(ValueError, match=f"^net.*: .*{says}"):
        CMAMVSearch({"x": REAL, "net": WRAPS[wrap](value)}, "loss", "min")


@pytest.mark.parametrize("make", [set, frozenset, lambda v: UserDict(k=v[0])])
def test_a_domain_where_tune_does_not_look_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"^net: Tune finds no domain inside a .*; use a list"):
        CMAMVSearch({"x": REAL, "net": make([REAL])}, "loss", "min")


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("kind", UNRESOLVED)
def test_a_tuners_placeholders_hide_nothing(kind: str, wrap: str) -> None:
    """A `Tuner` replaces objects and functions before the searcher sees its space."""
    value, _ = UNRESOLVED[kind]
    space = {"x": REAL, "net": {"opt": tune.choice(["a", WRAPS[wrap](value)])}}
    hidden = inject_placeholders(space, create_resolvers_map())
    with pytest.raises(ValueError, match=r"^net/opt: "):
        CMAMVSearch().set_search_properties("loss", "min", hidden)
    hidden = inject_placeholders({"x": REAL, "f": WRAPS[wrap](FUNCTION)}, create_resolvers_map())
    with pytest.raises(ValueError, match=r"^f.*: tune.sample_from cannot be evolved"):
        CMAMVSearch().set_search_properties("loss", "min", hidden)


def named(config: dict[str, Any]) -> float:
    return 0.0


@pytest.mark.parametrize("value", [named, max, functools.partial(named, {}), dict, object()])
def test_functions_that_are_meant_as_values_reach_the_trainable(value: Any) -> None:
    space = {"x": REAL, "constant": {"value": value}, "choice": tune.choice([value, lambda: 1])}
    configs = trajectory(CMAMVSearch(space, "loss", "min"), lambda c: c["x"], 20)
    for config in configs:
        assert type(config["constant"]["value"]) is type(value)
        assert callable(config["choice"]) or type(config["choice"]) is type(value)
        assert not any(isinstance(leaf, Domain | Function) for leaf in leaves(config))


def test_a_space_that_holds_itself_is_refused() -> None:
    space: dict[str, Any] = {"x": REAL}
    space["again"] = space
    with pytest.raises(ValueError, match="holds itself, or is nested too deeply"):
        CMAMVSearch(space, "loss", "min")


@pytest.mark.parametrize("beside", [2, True, 0.5, "a", [5], {"k": 1}])
def test_a_choice_that_tune_cannot_hand_out_is_refused(beside: Any) -> None:
    space = {"x": REAL, "kind": tune.choice([beside, object()])}
    assert CMAMVSearch(space, "loss", "min").suggest("t") is not None
    hidden = inject_placeholders(space, create_resolvers_map())
    with pytest.raises(ValueError, match=r"^kind: Tune cannot hand out a choice of objects that"):
        CMAMVSearch().set_search_properties("loss", "min", hidden)


@pytest.mark.parametrize("beside", [None, 0, "", [], "adam", [1, 2]])
def test_other_values_may_stand_beside_objects(beside: Any) -> None:
    space = {"x": REAL, "kind": tune.choice([beside, object()])}
    resolvers = create_resolvers_map()
    searcher = CMAMVSearch()
    assert searcher.set_search_properties("loss", "min", inject_placeholders(space, resolvers))
    for number in range(10):
        config = searcher.suggest(f"t{number}")
        resolve_placeholders(config, resolvers)
        assert config is not None
        assert config["kind"] == beside or type(config["kind"]) is object
