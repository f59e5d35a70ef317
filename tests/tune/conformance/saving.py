"""Checks on `save` and `restore`."""

from __future__ import annotations

import copy
import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.tune.conformance.kit import Driver, Maker, add, check, start
from tests.tune.conformance.repeatable import elsewhere
from tests.tune.conformance.warm_start import POINTS

GROUP = "saving"


@contextmanager
def state_file() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield os.path.join(folder, "searcher-state.pkl")


def restored(
    driver: Driver, make: Maker, path: str, *, bare: bool = False, **options: Any
) -> Driver:
    """A driver that goes on from a file in place of another one, with the same live trials."""
    other = start(make, **options)
    if bare:
        other.searcher = make(**options, seed=3)
    other.searcher.restore(path)
    other.configs, other.live = copy.deepcopy(driver.configs), [*driver.live]
    return other


def goes_on(make: Maker, ended: int, bare: bool, **options: Any) -> None:
    driver = start(make, **options)
    driver.run(ended)
    for _ in range(3):
        driver.ask()
    with state_file() as path:
        driver.searcher.save(path)
        other = restored(driver, make, path, bare=bare, **options)
    for each in (driver, other):
        each.run(30, 3)
    assert other.seen == driver.seen, "the search goes on in another way"


for ended in (0, 7, 25):
    add(
        GROUP,
        f"a search of {ended} trials goes on",
        "A restored searcher proposes what the saved one does; live trials may end with it.",
        partial(goes_on, ended=ended, bare=False),
    )
add(
    GROUP,
    "a searcher without a search space goes on",
    "`restore` brings the search space, metric and mode: `Tuner.restore` may not give them.",
    partial(goes_on, ended=7, bare=True),
)
add(
    GROUP,
    "points to begin with go on",
    "A search that is saved between its first points goes on with the others.",
    partial(goes_on, ended=0, bare=False, points_to_evaluate=copy.deepcopy(POINTS)),
)


@check(GROUP)
def saving_changes_nothing(make: Maker) -> None:
    """A search that is saved after each trial is the search that is never saved."""
    driver, plain = start(make), start(make)
    plain.run(30)
    with state_file() as path:
        for _ in range(30):
            driver.run(1)
            driver.searcher.save(path)
    assert driver.seen == plain.seen, "the search is another one"


@check(GROUP)
def the_newest_of_several_files_counts(make: Maker) -> None:
    """A searcher may be saved to many files; each has the state of its moment."""
    driver = start(make)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(4):
            driver.run(6)
            driver.searcher.save(f"{folder}/state{number}.pkl")
            if number == 1:
                early = copy.deepcopy(driver.configs)
        other = restored(driver, make, f"{folder}/state3.pkl")
        past = restored(driver, make, f"{folder}/state1.pkl")
    past.configs = early
    past.run(12)
    assert past.seen == driver.seen, "an earlier file goes on in another way"
    driver.run(12)
    other.run(12)
    assert other.seen == driver.seen, "the last file goes on in another way"


@check(GROUP)
def trials_that_end_twice_across_a_restore_count_once(make: Maker) -> None:
    """A trial that ended before the file was written may be reported again after it is read."""
    driver = start(make)
    driver.run(12)
    with state_file() as path:
        driver.searcher.save(path)
        other = restored(driver, make, path)
    other.searcher.on_trial_complete("trial3", {"loss": -1e9})
    driver.run(20)
    other.run(20)
    assert other.seen == driver.seen, "the search goes on in another way"


@check(GROUP)
def a_damaged_file_is_refused(make: Maker) -> None:
    """Half a file is an error, since the search would begin anew without one."""
    driver = start(make)
    driver.run(12)
    with state_file() as path:
        driver.searcher.save(path)
        whole = Path(path).read_bytes()
        for part in (whole[: len(whole) // 2], b"", b"no state"):
            Path(path).write_bytes(part)
            try:
                start(make).searcher.restore(path)
            except Exception:  # searchers of others refuse by errors of any kind
                continue
            raise AssertionError(f"it takes {len(part)} of {len(whole)} bytes")


class Opens:
    """Opens a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@check(GROUP)
def a_state_file_runs_no_code(make: Maker) -> None:
    """A file from elsewhere is only read: unpickling would run what it holds."""
    with state_file() as path:
        Path(path).write_bytes(pickle.dumps(Opens(f"{path}.mark")))
        try:
            start(make).searcher.restore(path)
        except Exception:  # searchers of others refuse by errors of any kind
            pass
        assert not os.path.exists(f"{path}.mark"), "it runs code of the file"


@check(GROUP, own=True)
def another_process_goes_on(make: Maker) -> None:
    """A search goes on in another process, as after a machine was lost."""
    driver = start(make)
    driver.run(14)
    with state_file() as path:
        driver.searcher.save(path)
        code = f"""
import json
from tests.tune.conformance.kit import start
driver = start(make)
driver.searcher.restore({path!r})
driver.prefix = "later"
driver.run(16)
print(json.dumps(driver.seen))
"""
        seen = elsewhere(make, code)
    driver.run(16)
    assert seen == driver.seen[14:], "the search goes on in another way"
