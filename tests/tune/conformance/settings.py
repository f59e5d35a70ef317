"""Checks on metric, mode and search space: in the searcher, the `Tuner`, both or none."""

from __future__ import annotations

import copy
from typing import Any

from ray.tune.search import Searcher

from tests.tune.conformance.kit import (
    MIXED,
    Config,
    Driver,
    Maker,
    check,
    error_of,
    run,
    said,
    start,
)

GROUP = "metric, mode and search space"
NOT_TAKEN = "set_search_properties says no"
"""Tune makes an error of this."""


def take(make: Maker, metric: Any, mode: Any, own: Config | None = None) -> Driver:
    """Make a searcher with settings of its own, whose `Tuner` has these, and ask it once."""
    searcher = make(seed=3, **(own or {}))
    assert searcher.set_search_properties(metric, mode, copy.deepcopy(MIXED)), NOT_TAKEN
    driver = Driver(searcher, None)
    driver.base = copy.deepcopy(MIXED)
    driver.ask()
    return driver


def refused(make: Maker, metric: Any, mode: Any, word: str) -> None:
    """Check that an error with this word comes before the first trial."""
    error = error_of(lambda: take(make, metric, mode))
    assert error, f"it proposes trials with the metric {metric!r} and the mode {mode!r}"
    assert word in str(error) or str(error) == NOT_TAKEN, said(error)


@check(GROUP)
def a_second_search_space_changes_nothing(make: Maker) -> None:
    """It is refused, and the search goes on as it was, even if the same space comes again."""
    driver = start(make)
    driver.run(12)
    assert not takes(driver.searcher, MIXED | {"more": 1}), "the second search space is taken"
    takes(driver.searcher)
    driver.run(12)
    assert driver.seen == run(make, count=24).seen, "the search is another one"


@check(GROUP)
def metric_and_mode_of_the_searcher_count(make: Maker) -> None:
    """They may be given to the searcher, and the search space to the `Tuner`."""
    driver = take(make, None, None, {"metric": "loss", "mode": "min"})
    driver.run(20)
    assert driver.seen == run(make, count=21).seen, "the search is another one"


@check(GROUP)
def the_same_metric_and_mode_twice_is_once(make: Maker) -> None:
    """Equal metrics and modes in the searcher and in the `Tuner` are no contradiction."""
    driver = take(make, "loss", "min", {"metric": "loss", "mode": "min"})
    driver.run(20)
    assert driver.seen == run(make, count=21).seen, "the search is another one"


def takes(searcher: Searcher, space: Config = MIXED) -> bool:
    """Whether a searcher takes metric, mode and space; otherwise Tune has an error."""
    answers: list[bool] = []
    error_of(lambda: answers.append(searcher.set_search_properties("loss", "min", dict(space))))
    return answers == [True]


@check(GROUP)
def the_tuners_mode_counts_or_is_refused(make: Maker) -> None:
    """If searcher and `Tuner` have different modes, the searcher does not go on in silence."""
    searcher = make(seed=3, metric="loss", mode="max")
    if not takes(searcher):
        return
    driver = Driver(searcher, None)
    driver.base = copy.deepcopy(MIXED)
    driver.run(40)
    assert driver.seen == run(make, count=40).seen, "it searches for the other end"


@check(GROUP)
def the_tuners_metric_counts_or_is_refused(make: Maker) -> None:
    """If searcher and `Tuner` have different metrics, the `Tuner`'s counts, or it is an error."""
    searcher = make(seed=3, metric="other", mode="min")
    assert not takes(searcher) or searcher.metric == "loss", f"its metric is {searcher.metric}"


@check(GROUP)
def a_search_without_a_metric_is_refused(make: Maker) -> None:
    """Without a metric there is an error that says so, before the first trial."""
    refused(make, None, "min", "metric")


@check(GROUP)
def a_search_without_a_mode_is_refused(make: Maker) -> None:
    """Without a mode there is an error that says so, before the first trial."""
    refused(make, "loss", None, "mode")


@check(GROUP)
def a_search_without_a_space_is_refused(make: Maker) -> None:
    """Without a search space there is an error that says so, before the first trial."""
    error = error_of(lambda: make(seed=3, metric="loss", mode="min").suggest("trial"))
    assert error, "it proposes trials without a search space"
    assert "space" in str(error), said(error)


@check(GROUP)
def an_unknown_mode_is_refused(make: Maker) -> None:
    """`minimum` is no mode, in the searcher as in the `Tuner`."""
    for mode in ("minimum", "MIN", "maximize"):
        refused(make, "loss", mode, "mode")
        error = error_of(lambda mode=mode: make(metric="loss", mode=mode))  # type: ignore[misc]
        assert error, f"the searcher takes the mode {mode}"
        assert "mode" in str(error), said(error)


@check(GROUP)
def several_metrics_work_or_are_refused(make: Maker) -> None:
    """A list of metrics is searched with all of them, or refused before the first trial."""
    several(make, ["loss", "size"], ["min", "max"])


@check(GROUP)
def one_metric_in_a_list_works_or_is_refused(make: Maker) -> None:
    """A list of one metric is refused before the first trial, or is that metric."""
    several(make, ["loss"], ["min"])
    several(make, ["loss"], "min")


def several(make: Maker, metric: Any, mode: Any) -> None:
    error = error_of(lambda: take(make, metric, mode))
    if error:
        assert "metric" in str(error) or "mode" in str(error), said(error)
        return
    searches = []
    for best in (1, 8):
        driver = take(make, metric, mode)
        driver.objective = lambda config, best=best: abs(config["depth"] - best)  # type: ignore[misc]
        for _ in range(30):
            trial = driver.live[0]
            driver.end(trial, result=driver.result(trial) | {"size": 1.0})
            driver.begin()
        searches.append(driver.seen)
    assert searches[0] != searches[1], f"it takes the metric {metric} and learns nothing"
