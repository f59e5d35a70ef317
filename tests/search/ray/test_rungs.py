"""Rungs that a resumed search rebuilds, against those of the search that went on."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from revo_ray.search.core.prepare import resolve
from revo_ray.search.core.state import SearchState
from revo_ray.search.ray.assignments import Assignments
from revo_ray.search.ray.experiment import Proposer, Recorder, Scheduler
from revo_ray.search.ray.halving import Halving, make_halving
from revo_ray.search.ray.resources import TrialResources
from revo_ray.settings.schema import SearchConfig
from tests.search.core.by_hand import open_state

EPOCHS = 8
RUNGS = (1, 2, 4)
FAILS = {3: "error", 7: "diverged", 11: "error"}
"""Ends of some evaluations, all after two epochs."""
SETTINGS = ["method.name=full", "method.reduction_factor=2", "search.budget=epochs"]
SETTINGS += [f"train.epochs={EPOCHS}", "search.evaluations=8"]


def halving() -> Halving:
    config, method = resolve(SearchConfig.load(None, SETTINGS))
    made = make_halving(method, config)
    assert made is not None
    return made


def rungs_of(made: Halving, state: SearchState) -> dict[float, dict[str, float]]:
    """The entries of each rung, of the evaluations that have ended."""
    scheduler: Any = made._scheduler
    (bracket,) = scheduler._brackets
    ended = {str(row.evaluation) for row in state.ledger}
    return {
        milestone: {trial: value for trial, value in known.items() if trial in ended}
        for milestone, known in bracket._rungs
    }


def report(number: int, curve: list[dict[str, Any]], granted: int, loss: float) -> dict[str, Any]:
    """The next result of an evaluation, as `trial.evaluate` yields it; the curve grows."""
    fails = FAILS.get(number) if len(curve) == 2 else None
    if fails != "error":
        curve.append({"epoch": len(curve) + 1, "val_loss": None if fails else loss})
    epochs = len(curve)
    whole = fails is not None or epochs == EPOCHS
    row = {"status": fails or "ok", "epochs": epochs, "curve": list(curve)}
    if fails is None:
        row["val_loss"] = loss
    ended = {"whole": whole, "done": whole or epochs == granted}
    return {"row": row, "cold": False, "epoch": epochs, "val_loss": loss, **ended}


def test_rebuilt_rungs_are_those_of_the_search_that_went_on(tmp_path: Path) -> None:
    """Some evaluations fail, some are stopped, and the last ones get the epochs that are left."""
    ends: set[tuple[str, int]] = set()
    for seed in range(8):
        ends |= search(tmp_path / str(seed), random.Random(seed))
    assert {("error", 2), ("diverged", 3), ("ok", EPOCHS), ("stopped", 1)} <= ends
    assert {("cut", epochs) for epochs in RUNGS} & ends


def search(folder: Path, rng: random.Random) -> set[tuple[str, int]]:
    """A search of up to three evaluations at a time: how they ended, after how many epochs."""
    live, ends = halving(), set()
    state = open_state(folder, *SETTINGS, early_stopping=live)
    assignments = Assignments([state], lambda: 3)
    scheduler = Scheduler(assignments, TrialResources(1, 0))
    proposer, recorder = Proposer(assignments), Recorder(assignments, lambda busy, slots: None)
    trials: dict[str, tuple[Trial, list[dict[str, Any]]]] = {}
    begun = 0
    while not state.spent:
        while assignments.assign(f"trial {begun}") is not None:
            trial = Trial("none", trial_id=f"trial {begun}", stub=True)
            trials[trial.trial_id], begun = (trial, []), begun + 1
            scheduler.on_trial_add(None, trial)
        name = rng.choice(sorted(trials))
        trial, curve = trials[name]
        work = assignments.live[name]
        assert work.proposal is not None
        number = work.proposal.evaluation
        loss = 0.0 if number in FAILS else rng.random()
        result = report(number, curve, work.request.config["epochs"], loss)
        # As Tune's controller does.
        decision = TrialScheduler.STOP
        if not result["done"]:
            decision = scheduler.on_trial_result(None, trial, result)
        elif not result["whole"]:
            ends.add(("cut", result["epoch"]))
        if decision == TrialScheduler.STOP:
            result["done"] = True
        recorder.on_trial_result(0, [], trial, result)
        if decision == TrialScheduler.STOP:
            scheduler.on_trial_complete(None, trial, result)
            proposer.on_trial_complete(name, result)
            del trials[name]
            resumed = halving()
            resumed.rebuild(state.ledger)
            assert rungs_of(resumed, state) == rungs_of(live, state)
    return ends | {(row.status, row.epochs) for row in state.ledger}
