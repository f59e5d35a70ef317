"""Checks on many trials at once, and on Tune's wrappers of searchers."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

from ray.tune.search import ConcurrencyLimiter, Repeater

from tests.tune.conformance.kit import MIXED, Driver, Maker, check, fault, run, start

GROUP = "trials at once"


@check(GROUP)
def many_questions_are_no_error(make: Maker) -> None:
    """With 64 trials wanted at once each question gives a configuration, or None."""
    driver = start(make)
    for _ in range(3):
        driver.begin()
        for _ in range(63):
            driver.ask()
        while driver.live:
            driver.end(driver.live[-1])
    for config in driver.configs.values():
        wrong = fault(MIXED, config)
        assert not wrong, wrong


@check(GROUP)
def an_idle_search_always_proposes(make: Maker) -> None:
    """While no trial is live, there is a suggestion: Tune would wait for ever."""
    driver, rng = start(make), random.Random(0)
    for _ in range(12):
        driver.begin()
        for _ in range(rng.randrange(20)):
            driver.ask()
        while driver.live:
            report: dict[str, Any] = rng.choice(
                [{}, {}, {"result": {"loss": math.nan}}, {"error": True}]
            )
            driver.end(rng.choice(driver.live), **report)


@check(GROUP)
def a_limiter_holds_the_trials(make: Maker) -> None:
    """`ConcurrencyLimiter(searcher, 3)` has three trials live at most, and goes on behind each."""
    driver = start(make)
    driver.searcher = ConcurrencyLimiter(driver.searcher, 3)
    most = 0
    for _ in range(30):
        while driver.ask():
            assert len(driver.live) <= 3, f"{len(driver.live)} trials are live"
        most = max(most, len(driver.live))
        driver.end(driver.live[-1] if driver.live else driver.begin())
    assert most == 3, f"{most} trials are live at most"


@check(GROUP)
def a_limiter_of_one_changes_nothing(make: Maker) -> None:
    """A limit of one trial gives the search of one trial at a time."""
    driver = start(make)
    driver.searcher = ConcurrencyLimiter(driver.searcher, 1)
    driver.run(30, 4)
    assert driver.seen == run(make).seen, "the search is another one"


@check(GROUP)
def a_limiter_in_batches_comes_to_an_end(make: Maker) -> None:
    """`ConcurrencyLimiter(…, batch=True)` goes on after each batch, errors included."""
    searcher = ConcurrencyLimiter(make(seed=3), 4, batch=True)
    driver = Driver(searcher, copy.deepcopy(MIXED))
    for number in range(12):
        driver.begin()
        while driver.ask():
            pass
        while driver.live:
            driver.end(driver.live[0], **({"error": True} if number % 3 == 1 else {}))


@check(GROUP)
def a_repeater_tells_means(make: Maker) -> None:
    """With `Repeater` the search is the one that is told the mean of each group."""
    repeated = start(make)
    repeated.searcher = Repeater(repeated.searcher, 3, set_index=False)
    noise = random.Random(0)
    for _ in range(20):
        group = [repeated.begin() for _ in range(3)]
        shares = (noise.random(), noise.random())
        for trial, share in zip(group, (*shares, -sum(shares)), strict=True):
            value = repeated.objective(repeated.configs[trial])
            repeated.end(trial, result={"loss": round(value, 6) + share})
    plain = start(make)
    plain.objective = lambda config: round(repeated.objective(config), 6)
    plain.run(20)
    assert repeated.seen[::3] == plain.seen, "the search is another one"


@check(GROUP)
def a_repeater_goes_on_after_errors(make: Maker) -> None:
    """With `Repeater` a search goes on when one repeat, or all of a group, failed."""
    driver = start(make)
    driver.searcher = Repeater(driver.searcher, 2)
    for number in range(24):
        group = [driver.begin() for _ in range(2)]
        for place, trial in enumerate(group):
            fails = number % 3 == 2 or (number % 3 == 1 and place == 1)
            driver.end(trial, **({"result": None, "error": True} if fails else {}))
