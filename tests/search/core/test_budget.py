"""`budget: epochs`, by hand and over a generation; and rungs that a resumed search rebuilds."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler

from revo_ray.evolve.proposals import Outcome, Proposals
from revo_ray.evolve.space import Real, Space
from revo_ray.objective import LOSS
from revo_ray.rundir.evaluation import EpochMetrics, Evaluation
from revo_ray.search.core.budget import EpochBudget
from revo_ray.search.ray.halving import Halving


@given(
    evaluations=st.integers(1, 12),
    epochs=st.integers(1, 9),
    workers=st.integers(1, 5),
    seed=st.integers(0, 10**6),
)
def test_the_last_epoch_is_spent_and_none_more(
    evaluations: int, epochs: int, workers: int, seed: int
) -> None:
    rng, budget = random.Random(seed), EpochBudget(evaluations, epochs)
    live: list[tuple[int, int]] = []
    spent = number = 0
    while not budget.spent:
        while len(live) < workers and budget.left > 0:
            granted = budget.reserve(number)
            assert 1 <= granted <= epochs
            live.append((number, granted))
            number += 1
        evaluation, granted = live.pop(rng.randrange(len(live)))
        if rng.random() < 0.2:  # its worker died: it is proposed again
            budget.spend(evaluation, 0)
            continue
        cost = rng.randint(1, granted)
        budget.spend(evaluation, cost)
        spent += cost
    assert spent == evaluations * epochs
    assert not live


class Generations:
    """An optimiser with generations of ten."""

    population_size = 10

    def ask(self) -> Any:
        return type("Candidate", (), {"sample": {"x": 0.0}})()

    def tell(self, solutions: list[Any]) -> None:
        assert len(solutions) == 10


def test_proposals_without_their_budget_go_on_beyond_it() -> None:
    proposals = Proposals(Generations(), Space({"x": Real(-1.0, 1.0)}), budget=4)
    proposals.unbound()
    for number in range(25):
        proposal = proposals.ask()
        assert proposal is not None
        assert proposal.evaluation == number
        proposals.tell(number, Outcome(float(number)))
    assert not proposals.finished


def asha() -> Halving:
    scheduler = ASHAScheduler(
        "epoch", "val_loss", "min", max_t=9, grace_period=1, reduction_factor=3
    )
    return Halving(scheduler, LOSS, 0)


def test_rebuilt_rungs_are_those_that_were_lost() -> None:
    curves: dict[int, list[float | None]] = {
        0: [None, 2.0, 1.9],
        1: [2.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3],
        2: [None, None, None],
        3: [1.5, 1.4, 1.3, None],
    }
    live, rows = asha(), []
    for number, curve in curves.items():
        live.add(number, None)
        status = "ok" if len(curve) == 9 else "diverged" if curve[-1] is None else "stopped"
        for epoch, loss in enumerate(curve, start=1):
            if status == "stopped" or epoch < len(curve):  # Tune asks nobody at a trial's own end
                live.result(number, None, epoch, loss, None)
        points = [EpochMetrics(epoch=i, val_loss=loss) for i, loss in enumerate(curve, start=1)]
        rows.append(Evaluation(evaluation=number, sample={}, status=status, curve=points))
    again = asha()
    again.rebuild(rows)
    rungs, rebuilt = (
        [[dict(rung) for _, rung in bracket._rungs] for bracket in halving._scheduler._brackets]
        for halving in (live, again)
    )
    assert rungs == rebuilt
    assert len(rungs[0][-1]) == 4


@pytest.mark.parametrize("loss", [None, 5.0])
def test_an_epoch_without_a_finite_loss_is_the_worst(loss: float | None) -> None:
    halving = asha()
    for number, value in enumerate([0.5, 0.6, 0.7, 0.8, loss]):
        halving.add(number, None)
        decision = halving.result(number, None, 1, value, None)
    assert decision == "STOP"
