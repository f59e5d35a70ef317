"""Checks on reports: values that are no numbers, errors, and calls that come late or twice."""

from __future__ import annotations

import math
import random
from functools import partial
from typing import Any

import numpy as np
from ray import tune

from tests.tune.conformance.kit import MIXED, Config, Driver, Maker, add, check, fault, run, start

GROUP = "reports"


class NoNumber:
    """A value that `float` does not take."""

    def __float__(self) -> float:
        raise RuntimeError("no number")


FAILURES: dict[str, dict[str, Any]] = {
    "NaN": {"result": {"loss": math.nan}},
    "infinity": {"result": {"loss": math.inf}},
    "minus infinity": {"result": {"loss": -math.inf}},
    "NumPy's NaN": {"result": {"loss": np.float32("nan")}},
    "a number beyond floats": {"result": {"loss": 10**400}},
    "None as the value": {"result": {"loss": None}},
    "a text as the value": {"result": {"loss": "low"}},
    "a list as the value": {"result": {"loss": [1.0]}},
    "an object as the value": {"result": {"loss": NoNumber()}},
    "a result without the metric": {"result": {"other": 1.0}},
    "an empty result": {"result": {}},
    "neither result nor error": {"result": None},
    "an error": {"result": None, "error": True},
    "an error with a result": {"result": {"loss": 0.0}, "error": True},
}
"""Reports of trials that have no value."""


def survives(make: Maker, report: dict[str, Any]) -> None:
    driver = start(make)
    for number in range(40):
        trial = driver.begin()
        driver.end(trial, **(report if number % 3 == 2 or 10 <= number < 22 else {}))
    for config in driver.configs.values():
        wrong = fault(MIXED, config)
        assert not wrong, wrong


def no_best(make: Maker, report: dict[str, Any]) -> None:
    space = {"x": tune.uniform(0, 1), "y": tune.uniform(0, 1)}
    driver = start(make, space, objective=lambda config: config["x"] + config["y"])
    bad = []
    for _ in range(120):
        trial = driver.begin()
        bad.append(driver.configs[trial]["x"] < 0.5)
        driver.end(trial, **(report if bad[-1] else {}))
    assert sum(bad[-40:]) <= 32, f"{sum(bad[-40:])} of the last 40 trials fail"


for name, failed in FAILURES.items():
    add(
        GROUP,
        name,
        "The searcher goes on after trials that end so.",
        partial(survives, report=failed),
    )
for name in ("NaN", "infinity", "an error", "a result without the metric"):
    add(
        GROUP,
        f"{name} is not the best",
        "Trials that end so do not attract the search.",
        partial(no_best, report=FAILURES[name]),
    )


@check(GROUP)
def numbers_of_numpy_and_of_python_are_one(make: Maker) -> None:
    """A value counts the same as a float, as NumPy's scalar and as an array without axes."""
    for kind in (np.float64, np.array):
        driver = start(make)
        for _ in range(30):
            trial = driver.begin()
            driver.end(trial, result={"loss": kind(driver.objective(driver.configs[trial]))})
        assert driver.seen == run(make).seen, kind.__name__


@check(GROUP)
def an_unknown_trial_may_end(make: Maker) -> None:
    """The end of a trial that the searcher never proposed changes nothing."""
    _undisturbed(make, lambda d, t: d.searcher.on_trial_complete("nobody", {"loss": -1e9}))


@check(GROUP)
def an_unknown_trial_may_report(make: Maker) -> None:
    """A result of a trial that the searcher never proposed changes nothing."""
    result = {"loss": -1e9, "training_iteration": 1}
    _undisturbed(make, lambda d, t: d.searcher.on_trial_result("nobody", result))


@check(GROUP)
def a_trial_may_end_twice(make: Maker) -> None:
    """Only the first end of a trial counts."""

    def again(driver: Driver, trial: str) -> None:
        driver.searcher.on_trial_complete(trial, {"loss": -1e9})
        driver.searcher.on_trial_complete(trial, None, error=True)
        driver.searcher.on_trial_complete("trial0", {"loss": -1e9})

    _undisturbed(make, again)


@check(GROUP)
def a_trial_may_report_after_its_end(make: Maker) -> None:
    """A result that comes after the end of its trial changes nothing."""
    result = {"loss": -1e9, "training_iteration": 9}
    _undisturbed(make, lambda d, t: d.searcher.on_trial_result(t, result))


def _undisturbed(make: Maker, disturb: Any) -> None:
    driver = start(make)
    for _ in range(30):
        trial = driver.begin()
        driver.end(trial)
        disturb(driver, trial)
    assert driver.seen == run(make).seen, "the search is another one"


@check(GROUP)
def results_on_the_way_need_no_metric(make: Maker) -> None:
    """A trial may report other values, or NaN, before it ends."""
    driver = start(make)
    for _ in range(20):
        trial = driver.begin()
        driver.searcher.on_trial_result(trial, {"training_iteration": 1, "other": 1.0})
        driver.searcher.on_trial_result(trial, {"training_iteration": 2, "loss": math.nan})
        driver.end(trial)


@check(GROUP)
def only_the_last_result_counts(make: Maker) -> None:
    """Results on the way, as a scheduler needs them, change no later suggestion."""
    driver = start(make)
    for _ in range(30):
        trial = driver.begin()
        for step in range(1, 4):
            result = {"loss": 100.0 - step, "training_iteration": step}
            driver.searcher.on_trial_result(trial, result)
        driver.end(trial)
    assert driver.seen == run(make).seen, "the search is another one"


@check(GROUP)
def a_trial_that_ends_very_late_still_counts(make: Maker) -> None:
    """One trial outlives fifty others; the search goes on, before and after its end."""
    driver = start(make)
    slow = driver.begin()
    rng = random.Random(0)
    for _ in range(50):
        while len(driver.live) < 4 and driver.ask():
            pass
        others = [trial for trial in driver.live if trial != slow]
        if not others:
            break  # a searcher may wait for its generation's last trial
        driver.end(rng.choice(others))
    driver.end(slow)
    driver.run(20)


@check(GROUP)
def asking_twice_for_one_trial_gives_one_configuration(make: Maker) -> None:
    """`suggest` is a function of the trial while it is live."""
    searcher = start(make).searcher
    first: list[Config | str | None] = [searcher.suggest(f"trial{n}") for n in range(3)]
    again = [searcher.suggest(f"trial{n}") for n in range(3)]
    assert again == first, "the second configuration is another one"
