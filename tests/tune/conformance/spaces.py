"""Checks on kinds of search spaces: values keep type and bounds, and nothing is left unresolved."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import Any

from ray import tune
from ray.tune.search.sample import Domain

from tests.tune.conformance.kit import (
    MIXED,
    Config,
    Driver,
    Maker,
    add,
    check,
    fault,
    leaves,
    refusal,
    run,
    said,
    start,
)

GROUP = "search spaces"

KINDS: dict[str, Config] = {
    "uniform": {"x": tune.uniform(-2, 3)},
    "loguniform": {"x": tune.loguniform(1e-6, 1)},
    "quniform": {"x": tune.quniform(-1, 1, 0.25)},
    "qloguniform": {"x": tune.qloguniform(0.1, 10, 0.1)},
    "randint": {"x": tune.randint(-3, 4)},
    "lograndint": {"x": tune.lograndint(1, 1000)},
    "qrandint": {"x": tune.qrandint(8, 64, 8)},
    "qrandint of step 1": {"x": tune.qrandint(1, 3, 1)},
    "qrandint with another step": {"x": tune.qrandint(1, 10, 3)},
    "qlograndint": {"x": tune.qlograndint(8, 512, 8)},
    "choice of texts": {"x": tune.choice(["a", "b", "c"])},
    "choice of numbers": {"x": tune.choice([16, 32, 0.5])},
    "choice of equal values": {"x": tune.choice([0, False, 0.0, "0", None])},
    "choice of lists and dictionaries": {"x": tune.choice([[1, 2], [3], {"a": 1}, {}])},
    "choice of tuples": {"x": tune.choice([(1, 2), (3, 4), ()])},
    "mixed": MIXED,
    "nested dictionaries": {
        "net": {"width": tune.randint(1, 9), "norm": {"kind": tune.choice(["a", "b"])}},
        "lr": tune.uniform(0, 1),
    },
    "lists": {"layers": [tune.uniform(0, 1), {"freeze": tune.choice([True, False])}]},
    "tuples": {"betas": (tune.uniform(0, 1), 0.5, tune.randint(0, 3))},
    "constants beside": {
        "x": tune.uniform(0, 1),
        "net": {"name": "fixed", "y": tune.randint(0, 5), "nothing": None},
        "sizes": [3, 4],
        "pair": (1, "b"),
        "empty": {},
    },
    "flat spelling": {"net/width": tune.randint(1, 9), "net/kind": tune.choice(["a", "b"])},
    "keys whose joined paths are equal": {
        "a/b": tune.uniform(0, 1),
        "a": {"b": tune.uniform(2, 3)},
    },
    "odd keys": {"": tune.uniform(0, 1), "a b": tune.randint(0, 4), "é.[0]": tune.uniform(0, 1)},
    "one value": {
        "x": tune.uniform(0, 1),
        "one": tune.choice(["only"]),
        "whole": tune.randint(3, 4),
    },
    "wide bounds": {
        "x": tune.uniform(-1e12, 1e12),
        "y": tune.loguniform(1e-30, 1e30),
        "n": tune.randint(0, 2**40),
    },
    "60 variables": {
        f"{kind}{number}": domain
        for number in range(20)
        for kind, domain in {
            "rate": tune.loguniform(1e-4, 1),
            "bit": tune.choice([0, 1]),
            "size": tune.randint(0, 9),
        }.items()
    },
    "1,000 choices": {"x": tune.choice([f"value{n}" for n in range(1000)])},
}
"""Spaces of which every configuration must be one, by name."""

ODD: dict[str, Config] = {
    "one value everywhere": {"key": tune.choice([5]), "y": tune.randint(3, 4)},
    "uniform with equal bounds": {"key": tune.uniform(1, 1), "y": tune.uniform(0, 1)},
    "loguniform with equal bounds": {"key": tune.loguniform(2, 2), "y": tune.uniform(0, 1)},
    "qrandint that holds no multiple": {"key": tune.qrandint(1, 3, 5), "y": tune.uniform(0, 1)},
    "randint that holds nothing": {"key": tune.randint(3, 3), "y": tune.uniform(0, 1)},
    "uniform whose bounds are swapped": {"key": tune.uniform(2, 1), "y": tune.uniform(0, 1)},
    "choice of nothing": {"key": tune.choice([]), "y": tune.uniform(0, 1)},
    "randn": {"key": tune.randn(0, 1), "y": tune.uniform(0, 1)},
}
"""Spaces that must be refused with the key's name, or give configurations that are right."""

LR = tune.loguniform(1e-4, 1)
UNRESOLVED: dict[str, Config] = {
    "domain in a choice": {"key": tune.choice([0.0, LR])},
    "domain in a dictionary in a choice": {"key": tune.choice([{"lr": LR}, {"name": "none"}])},
    "domain in a list in a choice": {"key": tune.choice([["sgd", LR], ["none", 0.0]])},
    "domain in a tuple in a choice": {"key": tune.choice([("sgd", LR), ("none", 0.0)])},
    "grid_search": {"key": tune.grid_search([1, 2])},
    "nested grid_search": {"net": {"key": tune.grid_search([1, 2])}},
    "grid_search in a choice": {"key": tune.choice([tune.grid_search([1, 2]), 3])},
    "sample_from": {"key": tune.sample_from(lambda spec: 1)},
    "nested sample_from": {"net": [{"key": tune.sample_from(lambda spec: 1)}]},
    "sample_from in a choice": {"key": tune.choice([tune.sample_from(lambda spec: 1), 2])},
    "bare lambda": {"key": lambda spec: 1},
}
"""Spaces with a `key` that a searcher must refuse, or resolve."""


def right(make: Maker, space: Config) -> None:
    driver = run(make, space, 24)
    for config in driver.configs.values():
        wrong = fault(space, config)
        assert not wrong, wrong


def right_or_refused(make: Maker, space: Config) -> None:
    error = refusal(make, space)
    if error is None:
        assert not _empty(space["key"]), "it proposes a value, and there is none"
        if _unbounded(space["key"]):
            run(make, space, 24)
        else:
            right(make, space)
        return
    assert "key" in str(error), f"its refusal does not name the key: {said(error)}"


def resolved_or_refused(make: Maker, space: Config) -> None:
    space = {"x": tune.uniform(0, 1), **space}
    if refusal(make, space) is not None:
        return
    for config in run(make, space, 24).configs.values():
        wrong = unresolved(config)
        assert not wrong, wrong


def unresolved(config: Any) -> str | None:
    """The first value of a configuration that Tune should have replaced."""
    for path, value in leaves(config):
        place = "/".join(map(str, path))
        if isinstance(value, Domain) or callable(value):
            return f"{place} of a trial is a {type(value).__name__}"
        if "grid_search" in path:
            return f"{place} reaches a trial"
    return None


def _empty(domain: Any) -> bool:
    if isinstance(getattr(domain, "categories", None), list):
        return not domain.categories
    low, high = getattr(domain, "lower", None), getattr(domain, "upper", None)
    if low is None or high is None or not math.isfinite(low) or not math.isfinite(high):
        return False
    step = getattr(domain.get_sampler(), "q", None)
    if step:
        return -(-low // step) * step > high
    return low > high or (type(domain).__name__ == "Integer" and low == high)


def _unbounded(domain: Any) -> bool:
    return type(domain.get_sampler()).__name__.endswith("Normal")


for name, kind in KINDS.items():
    add(
        GROUP,
        name,
        "Every configuration has the types and bounds of this space, and its constants.",
        partial(right, space=kind),
    )
for name, kind in ODD.items():
    add(
        GROUP,
        name,
        "It is refused with its key, or every configuration is right.",
        partial(right_or_refused, space=kind),
    )
for name, kind in UNRESOLVED.items():
    add(
        GROUP,
        name,
        "It is refused, or resolved before it reaches a trial.",
        partial(resolved_or_refused, space=kind),
    )


@check(GROUP)
def refusals_name_the_key(make: Maker) -> None:
    """A refused space is refused with the path of the key that is at fault."""
    for kind, space in UNRESOLVED.items():
        error = refusal(make, {"x": tune.uniform(0, 1), **space})
        path = "key" if "net" not in space else "net/key" if "nested g" in kind else "net/0/key"
        assert error is None or path in str(error), f"{kind}: {said(error)}"


@check(GROUP)
def nothing_to_search_is_refused(make: Maker) -> None:
    """A space of constants alone is refused, or has a message of its own when asked."""
    error = refusal(make, {"constant": 1})
    assert error is not None, "it proposes trials of a space without variables"


@check(GROUP)
def nested_and_flat_spellings_are_one_search(make: Maker) -> None:
    """`{"a": {"b": …}}` and `{"a/b": …}` have the same values."""
    nested = run(
        make, {"net": {"x": tune.uniform(0, 1)}, "k": tune.choice([1, 2])}, objective=_value
    )
    flat = run(make, {"net/x": tune.uniform(0, 1), "k": tune.choice([1, 2])}, objective=_value)
    values = [[value for _, value in leaves(config)] for config in nested.configs.values()]
    flat_values = [[value for _, value in leaves(config)] for config in flat.configs.values()]
    assert flat_values == values, "the spellings have other values"


def _value(config: Config) -> float:
    return float(sum(value for _, value in leaves(config)))


@check(GROUP)
def the_space_may_be_given_to_the_searcher(make: Maker) -> None:
    """A Tune space in the constructor is the search of one in the `Tuner`."""
    searcher = make(space=copy.deepcopy(MIXED), metric="loss", mode="min", seed=3)
    driver = Driver(searcher, None)
    driver.base = {"constant": 7}  # of Tuner's `param_space`
    driver.run(20)
    assert driver.seen == run(make, count=20).seen, "the search is another one"


@check(GROUP)
def every_variable_varies(make: Maker) -> None:
    """Each variable takes several values in 60 trials."""
    configs = [*run(make, count=60).configs.values()]
    for key in MIXED.keys() - {"constant"}:
        assert len({config[key] for config in configs}) > 2, f"{key} hardly varies"


def _types(space: Config) -> list[tuple[tuple[Any, ...], type]]:
    return [(path, type(value)) for path, value in leaves(space)]


@check(GROUP)
def the_callers_space_stays_as_it_was(make: Maker) -> None:
    """No searcher changes the search space that it was given."""
    space = copy.deepcopy(KINDS["constants beside"])
    before = _types(space)
    searcher = make(seed=3)
    searcher.set_search_properties("loss", "min", space)
    searcher.suggest("trial")
    assert _types(space) == before, "the space has changed"


@check(GROUP)
def a_trial_may_change_its_configuration(make: Maker) -> None:
    """A suggestion that is changed in place changes no later one."""
    driver = start(make, {"x": tune.uniform(0, 1), "net": tune.choice([{"a": 1}, {"a": 2}])})
    for number in range(20):
        suggestion = driver.searcher.suggest(f"mine{number}")
        assert isinstance(suggestion, dict)
        suggestion["net"]["mine"] = True
        driver.searcher.on_trial_complete(f"mine{number}", {"loss": 1.0})
        driver.run(1)
    for config in driver.configs.values():
        assert "mine" not in config["net"], f"a later trial got {config['net']}"
