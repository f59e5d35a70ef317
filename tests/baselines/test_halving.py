"""Successive halving: the stop rule, computed here a second time."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, HyperBandScheduler, TrialScheduler

from baselines.gradient import Full
from revo_ray.errors import SearchError, UserError
from revo_ray.objective import LOSS
from revo_ray.rundir.evaluation import EpochMetrics, Evaluation
from revo_ray.search.ray.halving import Halving
from revo_ray.settings.schema import SearchOptions, TrainConfig


def scheduler(epochs: int, **options: Any) -> Any:
    method = Full(Full.Options.model_validate(options))
    return method.scheduler(SearchOptions(), TrainConfig(epochs=epochs))


def percentile(values: list[float], fraction: float) -> float:
    """Between the two neighbours in rank, linearly."""
    ranked = sorted(values)
    place = fraction * (len(ranked) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (place - below) * (ranked[above] - ranked[below])


class Rule:
    """Asynchronous successive halving as Ray documents it, of losses."""

    def __init__(self, grace: int, factor: float, epochs: int) -> None:
        self.factor, self.epochs = factor, epochs
        self.rungs: dict[float, dict[int, float]] = {}
        milestone: float = grace
        while milestone <= epochs:
            self.rungs[milestone] = {}
            milestone *= factor

    def stops(self, trial: int, epoch: int, loss: float) -> bool:
        if epoch >= self.epochs:
            return True
        for milestone in sorted(self.rungs, reverse=True):
            rung = self.rungs[milestone]
            if epoch >= milestone and trial not in rung:
                worse = bool(rung) and loss > percentile(list(rung.values()), 1 / self.factor)
                rung[trial] = loss
                return worse
        return False


def curves(count: int, epochs: int, seed: int) -> list[list[float]]:
    """Losses that fall, each to a level of its own, with noise."""
    rng = random.Random(seed)
    ends = [rng.uniform(0.2, 2.0) for _ in range(count)]
    return [[end + rng.random() / (1 + e) for e in range(epochs)] for end in ends]


def interleaved(count: int, epochs: int, seed: int) -> list[tuple[int, int]]:
    """(trial, epoch) of all results in a random order that keeps each trial's own."""
    trials = [trial for trial in range(count) for _ in range(epochs)]
    random.Random(seed).shuffle(trials)
    reported = [0] * count
    order = []
    for trial in trials:
        reported[trial] += 1
        order.append((trial, reported[trial]))
    return order


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("epochs", "options"),
    [
        (10, {}),
        (27, {"reduction_factor": 3}),
        (20, {"reduction_factor": 2, "grace_period": 3}),
        (12, {"reduction_factor": 2.5, "grace_period": 2}),
    ],
)
def test_asha_stops_where_the_documented_rule_says(
    epochs: int, options: dict[str, float], seed: int
) -> None:
    asha = scheduler(epochs, **options)
    rule = Rule(int(options.get("grace_period", 1)), options.get("reduction_factor", 4), epochs)
    losses = curves(40, epochs, seed)
    trials = [Trial("none", trial_id=str(n), stub=True) for n in range(40)]
    for trial in trials:
        asha.on_trial_add(None, trial)
    stopped: dict[int, int] = {}
    for number, epoch in interleaved(40, epochs, seed):
        if number in stopped:
            continue
        result = {"epoch": epoch, "val_loss": losses[number][epoch - 1]}
        decision = asha.on_trial_result(None, trials[number], result)
        stops = rule.stops(number, epoch, result["val_loss"])
        assert (decision == TrialScheduler.STOP) == stops, (number, epoch)
        if stops:
            stopped[number] = epoch
    early = [epoch for epoch in stopped.values() if epoch < epochs]
    assert len(early) > 20
    assert len(set(early)) > 1  # at several rungs
    assert len(early) < 40


def decisions(halving: Halving, order: list[tuple[int, int]], losses: list[list[float]]) -> list:
    """What becomes of trials 20 to 39."""
    ended: set[int] = set()
    seen = []
    for number, epoch in order:
        if number in ended:
            continue
        halving.add(number, None)
        decision = halving.result(number, None, epoch, losses[number][epoch - 1], None)
        if decision == TrialScheduler.STOP:
            ended.add(number)
        if number >= 20:
            seen.append((number, epoch, decision))
    return seen


def test_rungs_rebuilt_from_the_rows_curves_decide_like_those_that_were_lost() -> None:
    losses = curves(40, 10, seed=3)
    first, second = interleaved(20, 10, seed=1), interleaved(20, 10, seed=2)
    halving = Halving(scheduler(10), LOSS, seed=0)
    rows = []
    ended: dict[int, int] = {}
    for number, epoch in first:
        if number in ended:
            continue
        halving.add(number, None)
        if halving.result(number, None, epoch, losses[number][epoch - 1], None) == "STOP":
            ended[number] = epoch
    for number, last in ended.items():
        curve = [EpochMetrics(epoch=e, val_loss=losses[number][e - 1]) for e in range(1, last + 1)]
        status = "ok" if last == 10 else "stopped"
        rows.append(Evaluation(evaluation=number, sample={}, status=status, curve=curve))
    resumed, empty = Halving(scheduler(10), LOSS, seed=0), Halving(scheduler(10), LOSS, seed=0)
    resumed.rebuild(rows)
    later = [(number + 20, epoch) for number, epoch in second]
    expected = decisions(halving, later, losses)
    assert decisions(resumed, later, losses) == expected
    assert decisions(empty, later, losses) != expected


def test_brackets_are_drawn_from_a_seed_and_the_users_random_state_is_left_alone() -> None:
    def drawn(seed: int) -> list[float]:
        """The first rung of each trial's bracket."""
        asha = ASHAScheduler("epoch", "val_loss", "min", max_t=81, reduction_factor=3, brackets=4)
        halving = Halving(asha, LOSS, seed)
        for number in range(40):
            before = np.random.get_state()
            halving.add(number, None)
            after = np.random.get_state()
            assert before[2:] == after[2:]
            assert np.array_equal(before[1], after[1])
        return [asha._trial_info[str(number)]._rungs[-1][0] for number in range(40)]

    np.random.seed(1)
    first = drawn(seed=5)
    np.random.seed(2)
    assert drawn(seed=5) == first
    assert drawn(seed=6) != first
    assert len(set(first)) > 1


def test_a_scheduler_that_pauses_is_refused() -> None:
    halving = Halving(HyperBandScheduler("epoch", "val_loss", "min", max_t=9), LOSS, 0)
    trials = [Trial("none", trial_id=str(n), stub=True) for n in range(20)]
    for number, trial in enumerate(trials):
        halving.add(number, trial)
    with pytest.raises(SearchError, match="HyperBandScheduler, pauses evaluations; give one that"):
        [halving.result(n, trial, 1, 1.0, None) for n, trial in enumerate(trials)]


def test_halving_is_as_configured() -> None:
    assert scheduler(10, halving="none") is None
    with pytest.raises(UserError, match=r"is 11; it may be at most train\.epochs, 10") as caught:
        scheduler(10, grace_period=11)
    assert caught.value.key == "method.grace_period"
