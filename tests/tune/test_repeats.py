"""Several trials for one evaluation: `repeats`, and Ray's `Repeater` around the searcher."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import ConcurrencyLimiter, Repeater

from revo_ray.tune import CMAMVSearch, Reconciler
from tests.properties import examples
from tests.tune.calls import known, trajectory

SPACE: dict[str, Any] = {"x": tune.uniform(-1, 1), "net": {"k": tune.choice(["a", "b"])}}
INDEX = "__trial_index__"


def loss(config: dict[str, Any]) -> float:
    return float(config["x"] ** 2 + (config["net"]["k"] == "a"))


def noisy(config: dict[str, Any]) -> float | None:
    """A value that depends on the repeat, with failures; its mean over three is another order."""
    index = config[INDEX]
    if config["x"] < -0.5 and index == 1:
        return None
    return math.nan if config["x"] > 0.8 else loss(config) + (index - 1) * 10 * config["x"]


def mean(config: dict[str, Any], repeats: int = 3) -> float | None:
    values = [noisy(config | {INDEX: index}) for index in range(repeats)]
    found = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(value / len(found) for value in found) if found else None


def make(repeats: int = 3, **options: Any) -> CMAMVSearch:
    return CMAMVSearch(
        SPACE, "loss", "min", population=4, seed=6, lookahead=1, repeats=repeats, **options
    )


def end(searcher: Any, trial: str, config: dict[str, Any]) -> None:
    value = noisy(config)
    if value is None:
        searcher.on_trial_complete(trial, None, error=True)
    else:
        searcher.on_trial_complete(trial, {"loss": value, "more": 1})


EXPECTED = trajectory(make(1), mean, 16)


@given(seed=st.integers(0, 10**6), workers=st.integers(1, 12))
@examples(12)
def test_the_mean_counts_whoever_ends_first_and_whatever_is_restored(
    seed: int, workers: int, tmp_path: Path
) -> None:
    rng, searcher = random.Random(seed), make()
    live: dict[str, dict[str, Any]] = {}
    seen: dict[float, set[int]] = {}
    order: list[dict[str, Any]] = []
    for number in range(10_000):
        if len(order) >= 16 and not live:
            break
        if len(live) < workers and len(order) < 16 + workers:
            config = searcher.suggest(f"t{number}")
            if config is not None:
                live[f"t{number}"] = config
                if config["x"] not in seen:
                    order.append({k: v for k, v in config.items() if k != INDEX})
                seen.setdefault(config["x"], set()).add(config[INDEX])
        if live and rng.random() < 0.5:
            trial = rng.choice(list(live))
            config = live.pop(trial)
            if rng.random() < 0.1:
                searcher.on_trial_complete(trial)  # lost: it is handed out again
            else:
                end(searcher, trial, config)
        if rng.random() < 0.03:
            searcher.save(str(tmp_path / "state"))
            searcher = make()
            searcher.restore(str(tmp_path / "state"))
            assert {trial: searcher.suggest(trial) for trial in live} == live
    first = sorted(order[:16], key=repr)
    assert first == sorted(EXPECTED, key=repr) or len(order) > 16
    assert [config for config in EXPECTED if config not in order] == []
    assert all(indices <= {0, 1, 2} for indices in seen.values())


def test_one_repeat_is_the_plain_search() -> None:
    searcher = CMAMVSearch(SPACE, "loss", "min")
    assert INDEX not in (searcher.suggest("t") or {})


@pytest.mark.parametrize("repeats", [0, -1, 1.5, "2", True, None])
def test_repeats_is_a_whole_number(repeats: Any) -> None:
    with pytest.raises(ValueError, match=r"repeats=.* must be a whole number from 1"):
        make(repeats)


def test_concurrency_counts_trials() -> None:
    limited = ConcurrencyLimiter(make(), 4)
    configs = [limited.suggest(f"t{number}") for number in range(6)]
    assert [config is not None for config in configs] == [True] * 4 + [False] * 2
    assert [config[INDEX] for config in configs if config] == [0, 1, 2, 0]


def drive(
    searcher: Any, reconciler: Reconciler, workers: int, count: int, seed: int
) -> list[dict[str, Any]]:
    """Run trials as Tune does: a step begins, then trials start or end."""
    rng = random.Random(seed)
    trials: dict[str, Any] = {}
    configs: list[dict[str, Any]] = []
    while len(configs) < count or any(t.status == Trial.RUNNING for t in trials.values()):
        reconciler.on_step_begin(1, list(trials.values()))
        running = [each for each in trials.values() if each.status == Trial.RUNNING]
        if len(running) < workers and len(configs) < count:
            name = f"t{len(configs)}"
            config = searcher.suggest(name)
            if config is not None:
                trials[name] = known(name, config=config)
                configs.append(config)
                continue
        if running:
            each = rng.choice(running)
            index = int(each.trial_id[1:]) % 3
            value = noisy(each.config | {INDEX: index})
            each.status = Trial.ERROR if value is None else Trial.TERMINATED
            each.last_result = {"loss": value}
            if value is None:
                searcher.on_trial_complete(each.trial_id, None, error=True)
            else:
                searcher.on_trial_complete(each.trial_id, {"loss": value, "more": 1})
    return configs


@pytest.mark.parametrize("workers", [1, 3, 7])
@pytest.mark.parametrize("limited", ["", "outside", "inside"])
def test_under_rays_repeater_the_means_arrive(workers: int, limited: str) -> None:
    """The first trial of a group ends before the group does; its own value does not count.

    Nor does the error of the last one, which Ray passes beside the mean.
    """
    search = CMAMVSearch(SPACE, "loss", "min", population=4, seed=6, lookahead=1)
    inner = ConcurrencyLimiter(search, 9) if limited == "inside" else search
    repeater: Any = Repeater(inner, repeat=3)
    outer = ConcurrencyLimiter(repeater, workers) if limited == "outside" else repeater
    configs = drive(outer, Reconciler(search), workers, 48, seed=workers)
    groups = [{k: v for k, v in config.items() if k != INDEX} for config in configs[::3]]
    assert [config["x"] for config in groups] == [config["x"] for config in EXPECTED]


def test_a_reconciler_takes_what_wraps_the_searcher_and_nothing_else() -> None:
    search = CMAMVSearch(SPACE, "loss", "min")
    wrapped = ConcurrencyLimiter(Repeater(search, repeat=2), 3)
    assert Reconciler(wrapped)._searcher is search
    with pytest.raises(TypeError, match="Reconciler takes a CMAMVSearch, not 7"):
        Reconciler(7)  # type: ignore[arg-type]


def test_rays_repeater_cannot_be_restored_and_says_it_in_one_line(tmp_path: Path) -> None:
    search = CMAMVSearch(SPACE, "loss", "min")
    repeater = Repeater(search, repeat=3)
    configs = {f"t{n}": repeater.suggest(f"t{n}") for n in range(4)}
    repeater.save(str(tmp_path / "state"))
    again = CMAMVSearch(SPACE, "loss", "min")
    Repeater(again, repeat=3).restore(str(tmp_path / "state"))
    trials = [known(name, config=config) for name, config in configs.items()]
    with pytest.raises(ValueError, match=r"Repeater .* cannot be restored; .*repeats=") as refused:
        Reconciler(again).on_step_begin(1, trials)
    assert len(str(refused.value).splitlines()) == 1


def test_repeats_that_the_driver_missed_are_caught_up_with(tmp_path: Path) -> None:
    """One trial ended for Tune, one is unknown to it, one failed: as if each had been told."""
    whole = make()
    configs = {f"t{number}": whole.suggest(f"t{number}") or {} for number in range(9)}
    whole.save(str(tmp_path / "state"))
    again = make()
    again.restore(str(tmp_path / "state"))
    trials = [known(name, config=config) for name, config in configs.items()]
    trials[0].status, trials[0].last_result = Trial.TERMINATED, {"loss": 0.25}
    trials[1].status = Trial.ERROR
    del trials[5]
    Reconciler(again).on_step_begin(1, trials)
    whole.on_trial_complete("t0", {"loss": 0.25})
    whole.on_trial_complete("t1", None, error=True)
    whole.on_trial_complete("t5")
    for searcher in (whole, again):
        assert searcher.suggest("new") == configs["t5"]
        for name in ("t2", "t3", "t4", "new", "t6", "t7", "t8"):
            searcher.on_trial_complete(name, {"loss": loss(configs.get(name, configs["t5"]))})
    assert whole._begin().told == again._begin().told
