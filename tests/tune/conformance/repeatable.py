"""Checks on reproducibility: seeds, processes, and any number of workers."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np

from tests.tune.conformance.kit import MIXED, Maker, add, check, run, start
from tests.tune.conformance.spaces import KINDS

GROUP = "reproducibility"
ROOT = Path(__file__).parents[3]


@check(GROUP)
def the_same_seed_gives_the_same_search(make: Maker) -> None:
    """Two searchers with one seed propose the same, also in nested spaces."""
    for space in (MIXED, KINDS["nested dictionaries"]):
        assert run(make, space).seen == run(make, space).seen, "the searches differ"


@check(GROUP)
def another_seed_gives_another_search(make: Maker) -> None:
    """Two searchers with different seeds differ."""
    drivers = []
    for seed in (1, 2):
        searcher = make(seed=seed)
        searcher.set_search_properties("loss", "min", dict(MIXED))
        drivers.append([searcher.suggest(f"trial{number}") for number in range(5)])
    assert drivers[0] != drivers[1], "both propose the same"


@check(GROUP)
def the_values_decide(make: Maker) -> None:
    """The proposals depend on the values that were told."""
    low = run(make, count=60, objective=lambda config: abs(config["depth"] - 2))
    high = run(make, count=60, objective=lambda config: abs(config["depth"] - 7))
    assert low.seen != high.seen, "the proposals do not depend on the values"


def elsewhere(make: Maker, code: str) -> list[str]:
    """The list that a program prints in a process of its own, with another hash seed."""
    head = f"from {make.__module__} import {make.__name__} as make\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", head + code],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "random", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    seen: list[str] = json.loads(done.stdout.splitlines()[-1])
    return seen


@check(GROUP, own=True)
def another_process_gives_the_same_search(make: Maker) -> None:
    """A process with another hash seed proposes the same."""
    code = (
        "import json; from tests.tune.conformance.kit import run; print(json.dumps(run(make).seen))"
    )
    assert elsewhere(make, code) == run(make).seen, "it proposes something else there"


@check(GROUP)
def the_global_random_state_is_left_alone(make: Maker) -> None:
    """Proposals do not depend on Python's and NumPy's global generators, nor advance them."""
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), repr(np.random.get_state())
    seen = run(make).seen
    after = random.getstate(), repr(np.random.get_state())
    random.seed(2)
    np.random.seed(2)
    assert run(make).seen == seen, "the proposals depend on the global generators"
    assert after == before, "the searcher draws from the global generators"


@check(GROUP)
def mode_max_mirrors_mode_min(make: Maker) -> None:
    """A search for the largest value is that for the least of its negative."""
    driver = start(make)
    mirrored = start(make, objective=lambda config: -driver.objective(config))
    mirrored.searcher = make(seed=3)
    mirrored.searcher.set_search_properties("loss", "max", dict(MIXED))
    driver.run(40)
    mirrored.run(40)
    assert mirrored.seen == driver.seen, "the search is another one"


def same_with(make: Maker, at_once: int) -> None:
    alone = start(make)
    alone.run(60)
    for order in (None, random.Random(1), random.Random(2)):
        several = start(make)
        several.run(60, at_once, order)
        assert sorted(several.seen) == sorted(alone.seen), "other configurations than one by one"


for workers in (4, 16):
    add(
        GROUP,
        f"{workers} trials at once",
        "The same configurations as one by one, in whatever order the trials end.",
        partial(same_with, at_once=workers),
    )


@check(GROUP)
def the_order_in_which_trials_end_does_not_matter(make: Maker) -> None:
    """Four trials at once give the same configurations in any order of their ends."""
    seen = []
    for order in (None, random.Random(1), random.Random(2)):
        driver = start(make)
        driver.run(60, 4, order)
        seen.append(sorted(driver.seen))
    assert seen[0] == seen[1] == seen[2], "another order, other configurations"


@check(GROUP)
def asking_in_vain_changes_nothing(make: Maker) -> None:
    """Many questions while no suggestion can be given do not change the search."""
    driver, asked = start(make), 0
    while asked < 40 and driver.ask():
        asked += 1
    for _ in range(200):
        if asked < 40:
            assert driver.searcher.suggest(f"vain{_}") is None
    while driver.live:
        driver.end(driver.live[0])
    driver.run(20)
    other = start(make)
    while len(other.configs) < asked:
        other.ask()
    while other.live:
        other.end(other.live[0])
    other.run(20)
    assert other.seen == driver.seen, "the search is another one"
