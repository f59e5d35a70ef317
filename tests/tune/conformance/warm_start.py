"""Checks on points to begin with, and on evaluations from elsewhere."""

from __future__ import annotations

import copy
from typing import Any

from ray import tune

from tests.tune.conformance.kit import MIXED, Config, Driver, Maker, check, error_of, run, start

GROUP = "points to begin with"

POINTS: list[Config] = [
    {"lr": 0.01, "depth": 3, "kind": "b", "drop": 0.2},
    {"lr": 1.0, "depth": 8, "kind": "c", "drop": 0.5},
    {"lr": 1e-4, "depth": 1, "kind": "a", "drop": 0.0},
]
"""Values of all variables of `MIXED`; the last two stand on its bounds."""
SPACE: Config = {key: domain for key, domain in MIXED.items() if key != "constant"}


def begun(make: Maker, points: list[Config] = POINTS, **options: Any) -> Driver:
    """Make a searcher that begins with points."""
    return start(make, SPACE, points_to_evaluate=copy.deepcopy(points), **options)


def first(driver: Driver, count: int) -> list[Config]:
    """The first configurations, all asked for at once as far as that is possible."""
    driver.run(count, count)
    return [*driver.configs.values()][:count]


def same(found: list[Config], points: list[Config]) -> None:
    """Check values and types."""
    assert found == points, f"it proposes {found[0]}"
    for config, point in zip(found, points, strict=True):
        for key, value in point.items():
            assert type(config[key]) is type(value), f"{key} is a {type(config[key]).__name__}"


@check(GROUP)
def points_come_first(make: Maker) -> None:
    """`points_to_evaluate` are the first trials, in their order and to the last digit."""
    driver = begun(make)
    same(first(driver, 3), POINTS)
    driver.run(20)


@check(GROUP)
def points_on_the_searchers_own_space(make: Maker) -> None:
    """They may be given together with the search space."""
    searcher = make(
        space=copy.deepcopy(SPACE), metric="loss", mode="min", points_to_evaluate=POINTS, seed=3
    )
    same(first(Driver(searcher, None), 3), POINTS)


@check(GROUP)
def more_points_than_a_generation(make: Maker) -> None:
    """Twenty-five points come first, and the search goes on behind them."""
    points = [
        {"lr": 10 ** -(n / 7), "depth": n % 8 + 1, "kind": "a", "drop": 0.1} for n in range(25)
    ]
    driver = begun(make, points)
    driver.run(25)
    same([*driver.configs.values()], points)
    driver.run(20)


@check(GROUP)
def a_point_twice_is_two_trials(make: Maker) -> None:
    """Equal points are evaluated as often as they are given."""
    same(first(begun(make, [POINTS[0]] * 3), 3), [POINTS[0]] * 3)


@check(GROUP)
def points_of_a_nested_space(make: Maker) -> None:
    """Points are nested as the configurations are."""
    space = {"net": {"width": tune.randint(1, 9), "kind": tune.choice(["a", "b"])}}
    point = {"net": {"width": 4, "kind": "b"}}
    driver = start(make, space, points_to_evaluate=[copy.deepcopy(point)])
    same(first(driver, 1), [point])


@check(GROUP)
def points_in_the_flat_spelling(make: Maker) -> None:
    """Points of a nested space may have joined keys, as OptunaSearch wants them."""
    space = {"net": {"width": tune.randint(1, 9), "kind": tune.choice(["a", "b"])}}
    driver = start(make, space, points_to_evaluate=[{"net/width": 4, "net/kind": "b"}])
    same(first(driver, 1), [{"net": {"width": 4, "kind": "b"}}])


@check(GROUP)
def points_beside_constants(make: Maker) -> None:
    """A point names the variables alone; the constants come with it."""
    driver = start(make, MIXED, points_to_evaluate=copy.deepcopy(POINTS))
    same(first(driver, 3), [point | {"constant": 7} for point in POINTS])


@check(GROUP)
def points_stay_as_they_were(make: Maker) -> None:
    """The caller's list of points is not changed."""
    points = copy.deepcopy(POINTS)
    first(start(make, SPACE, points_to_evaluate=points), 3)
    assert points == POINTS, "the searcher changed the caller's points"


def proposed(make: Maker, point: Config) -> Config | None:
    """The configuration that a doubtful point became; None if it is refused."""
    found: list[Config] = []
    error = error_of(lambda: found.extend(first(begun(make, [point]), 1)))
    return None if error else found[0]


@check(GROUP)
def a_point_outside_the_space_is_not_altered(make: Maker) -> None:
    """A value that is out of bounds, no choice or of another type is refused, or stays itself."""
    for change in ({"lr": 5.0}, {"depth": 9}, {"kind": "z"}, {"drop": 0.25}, {"depth": 2.5}):
        found = proposed(make, POINTS[0] | change)
        assert found in (None, POINTS[0] | change), f"{change} became {found}"


@check(GROUP)
def a_point_with_an_unknown_key_is_refused(make: Maker) -> None:
    """A key that the space lacks, or a typing error in one, is refused."""
    for point in (
        POINTS[0] | {"colour": "red"},
        {"rate": 0.01, "depth": 3, "kind": "b", "drop": 0.2},
    ):
        assert proposed(make, point) is None, f"it takes {point}"


@check(GROUP)
def points_are_learned_from(make: Maker) -> None:
    """The values of the points are told like all others: they decide what comes next."""
    searches = []
    for values in ([0.0, 1.0, 2.0], [2.0, 1.0, 0.0]):
        driver = begun(make)
        for value in values:
            driver.end(driver.begin(), result={"loss": value, "training_iteration": 1})
        driver.run(60)
        searches.append(driver.seen[3:])
    assert searches[0] != searches[1], "the values of the points do not count"


@check(GROUP)
def points_are_reproducible(make: Maker) -> None:
    """Equal points and seeds are equal searches."""
    drivers = [begun(make), begun(make)]
    for driver in drivers:
        driver.run(40)
    assert drivers[0].seen == drivers[1].seen, "the searches differ"


@check(GROUP)
def known_rewards_are_not_evaluated_again(make: Maker) -> None:
    """With `evaluated_rewards` the points are told, and not proposed."""
    driver = begun(make, evaluated_rewards=[0.5, 0.0, 2.0])
    driver.run(20)
    for point in POINTS:
        assert point not in driver.configs.values(), "a point with a known value is proposed"


@check(GROUP)
def known_rewards_count(make: Maker) -> None:
    """Other rewards lead to other proposals, equal ones to equal proposals."""
    points = [{"lr": 0.1, "depth": n % 8 + 1, "kind": "a", "drop": 0.1} for n in range(16)]
    searches = []
    for rewards in (range(16), range(16), range(16, 0, -1)):
        driver = begun(make, points, evaluated_rewards=[float(reward) for reward in rewards])
        driver.run(30)
        searches.append(driver.seen)
    assert searches[0] == searches[1], "equal rewards lead to different searches"
    assert searches[0] != searches[2], "the rewards do not count"


@check(GROUP)
def rewards_must_fit_the_points(make: Maker) -> None:
    """Two rewards for three points are refused."""
    error = error_of(lambda: begun(make, evaluated_rewards=[0.5, 1.0]).ask())
    assert error, "two rewards for three points are taken"


def added(make: Maker, value: float, **state: Any) -> list[str]:
    """A search to which evaluations were added before its first trial."""
    driver = start(make, SPACE)
    for number in range(16):
        point = POINTS[0] | {"depth": number % 8 + 1}
        driver.searcher.add_evaluated_point(point, abs(value - number % 8), **state)
    driver.run(30)
    return driver.seen


@check(GROUP)
def evaluated_points_may_be_added(make: Maker) -> None:
    """`add_evaluated_point` teaches the searcher values from elsewhere."""
    searches = [added(make, 0.0), added(make, 0.0), added(make, 7.0)]
    assert searches[0] == searches[1], "equal points lead to different searches"
    assert searches[0] != searches[2], "the values do not count"


@check(GROUP)
def failed_points_may_be_added(make: Maker) -> None:
    """`add_evaluated_point` takes points that failed, or that were stopped early."""
    added(make, 0.0, error=True)
    added(make, 0.0, pruned=True, intermediate_values=[3.0, 2.0])


@check(GROUP)
def a_point_may_be_added_in_the_midst(make: Maker) -> None:
    """`add_evaluated_point` may come between trials, while some run."""
    driver = run(make, SPACE, 12)
    driver.ask()
    driver.searcher.add_evaluated_point(copy.deepcopy(POINTS[0]), 0.0)
    driver.run(20)


@check(GROUP)
def points_with_many_workers(make: Maker) -> None:
    """The points come first with sixteen trials at once, too."""
    driver = begun(make)
    driver.run(40, 16)
    same([*driver.configs.values()][:3], POINTS)
