"""Checks on what a search finds, against random search with the same number of trials."""

from __future__ import annotations

import math
import random
from functools import partial
from statistics import mean

from ray import tune

from tests.tune.conformance.kit import Config, Driver, Maker, Objective, add

GROUP = "quality"
TRIALS, SEEDS = 80, range(4)

SPACES: dict[str, tuple[Config, Objective]] = {
    "real numbers": (
        {f"x{n}": tune.loguniform(1e-4, 1) for n in range(4)},
        lambda config: sum((math.log10(x) + 1 + n / 3) ** 2 for n, x in enumerate(config.values())),
    ),
    "choices": (
        {f"c{n}": tune.choice(["a", "b", "c"]) for n in range(8)},
        lambda config: float(sum(value != "abc"[n % 3] for n, value in enumerate(config.values()))),
    ),
    "a mixed space": (
        {
            "lr": tune.loguniform(1e-5, 1),
            "drop": tune.uniform(0, 1),
            "depth": tune.randint(1, 20),
            "kind": tune.choice(["a", "b", "c", "d"]),
            "shift": tune.choice([True, False]),
        },
        lambda config: (
            (math.log10(config["lr"]) + 2) ** 2
            + 4 * (config["drop"] - 0.3) ** 2
            + ((config["depth"] - 12) / 5) ** 2
            + (config["kind"] != "c")
            + config["shift"]
        ),
    ),
}
"""Search spaces, each with a function whose least value is about 0."""


def beats_random(make: Maker, space: Config, objective: Objective) -> None:
    found, drawn = [], []
    for seed in SEEDS:
        driver = Driver(make(seed=seed), space, objective)
        driver.run(TRIALS)
        found.append(min(map(objective, driver.configs.values())))
        drawn.append(min(objective(each) for each in randomly(space, seed)))
    assert mean(found) < 0.75 * mean(drawn), (
        f"the best of {TRIALS} is {mean(found):.3g} on average, random search's {mean(drawn):.3g}"
    )


def randomly(space: Config, seed: int) -> list[Config]:
    """Configurations drawn by Tune itself."""
    rng = random.Random(seed)
    return [
        {key: domain.sample(random_state=rng.randrange(2**31)) for key, domain in space.items()}
        for _ in range(TRIALS)
    ]


for name, (space, objective) in SPACES.items():
    add(
        GROUP,
        f"better than random on {name}",
        "Its best values are, on average, under three quarters of random search's.",
        partial(beats_random, space=space, objective=objective),
    )
