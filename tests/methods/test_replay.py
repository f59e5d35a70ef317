"""The ledger's replay: whichever trials have ended, the same work comes next, for every method.

Methods whose proposals depend on the order of the outcomes (TPE, one by one) are left out.
"""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.random import Draw, Draws
from revo_ray.evolve.proposals import Outcome, Proposal, Proposals
from revo_ray.evolve.space import Categorical, Sample, Space
from revo_ray.rundir.evaluation import Evaluation, read_row, seal_row
from revo_ray.search.core.prepare import resolve
from revo_ray.settings.schema import SearchConfig
from tests.properties import examples
from tests.search.core.by_hand import FakeUnit

UNITS = [FakeUnit("stem"), *(FakeUnit(f"body{i}") for i in range(2)), FakeUnit("head", head=True)]
BUDGET = 18
METHODS = [
    *("revo-continuous", "revo-continuous scale=linear", "revo-continuous scale=relative"),
    *(f"revo-continuous algorithm={name}" for name in ("cma", "cmawm", "sop")),
    *("revo-mixed", "revo-binary", "revo-binary global_lr=0.01"),
    *("revo-continuous sweep=false", "revo-mixed sweep=false", "revo-binary sweep=false"),
    *("revo-binary algorithm=cmawm", "revo-binary algorithm=sop global_lr=0.01"),
    *("set-encoding", "set-encoding rates=[0,0.1]", "biotune", "biotune elites=1"),
    *("random", "random encoding=mixed", "random encoding=binary global_lr=0.01"),
    *("revo-mixed recipe=[momentum,mixup]", "revo-binary recipe=[weight_decay]"),
    *("set-encoding recipe=[weight_decay,momentum]", "random recipe=[label_smoothing]"),
]

BITS = Space({f"bit{i}": Categorical((0, 1)) for i in range(3)})

Rows = dict[int, tuple[Sample, Outcome, int | None]]


def make(method: str, lookahead: int) -> Proposals[Any]:
    name, *options = method.split()
    settings = [f"method.name={name}", *(f"method.{option}" for option in options)]
    settings += [f"search.evaluations={BUDGET}", "search.population=4"]
    config, made = resolve(SearchConfig.load(None, [*settings, f"search.lookahead={lookahead}"]))
    return made.searcher(made.space(UNITS), config.search)


def outcome(proposal: Proposal, world: int) -> Outcome:
    """A sample decides it, and may diverge; errors come by accident, and need not come again."""
    sample = f"{world} {sorted(proposal.sample.items())}"
    chance, accident = random.Random(sample), random.Random(f"{proposal.evaluation} {sample}")
    if accident.random() < 0.3:
        return Outcome(None, reusable=False)
    return Outcome(chance.choice([None, math.nan, 1e30, *(chance.random() for _ in range(9))]))


def take(proposals: Proposals[Any], rows: Rows, most: int = BUDGET) -> list[Proposal]:
    """Evaluations that can be run now. Those that a row answers get their own rows."""
    asked: list[Proposal] = []
    while True:
        while len(asked) < most and (proposal := proposals.ask()) is not None:
            asked.append(proposal)
        answered = proposals.take_answered()
        if not answered:
            return asked
        for each in answered:
            assert each.source is not None
            told = Outcome(rows[each.source][1].value, reusable=False)
            rows[each.evaluation] = (each.sample, told, each.source)
            proposals.tell(each.evaluation, told)


def drive(
    proposals: Proposals[Any], rows: Rows, ends: int, seed: int, world: int, workers: int = 1
) -> list[Proposal]:
    """End so many evaluations in random order; gives all others that can be run then."""
    rng, busy = random.Random(seed), list[Proposal]()
    for _ in range(ends):
        busy += take(proposals, rows, workers - len(busy))
        if busy:
            ended = busy.pop(rng.randrange(len(busy)))
            rows[ended.evaluation] = (ended.sample, outcome(ended, world), None)
            proposals.tell(ended.evaluation, rows[ended.evaluation][1])
    return sorted(busy + take(proposals, rows), key=lambda proposal: proposal.evaluation)


def recorded(rows: Rows) -> dict[int, tuple[Sample, Outcome]]:
    """The rows, with the samples as the files of a ledger keep them."""
    kept = {}
    for number, (sample, told, _) in rows.items():
        row = Evaluation(evaluation=number, sample=sample, status="ok")
        read = read_row(seal_row(row), "")
        assert read is not None
        kept[number] = (read.sample, told)
    return kept


def text(rows: Rows) -> dict[int, str]:
    return {number: repr(rows[number]) for number in sorted(rows)}


@pytest.mark.sample(10)
@pytest.mark.parametrize("method", METHODS)
@given(
    lookahead=st.sampled_from([0, 3, 9]),
    workers=st.integers(1, 6),
    ends=st.integers(0, BUDGET),
    seed=st.integers(0, 10**6),
)
@examples(10)
def test_the_same_work_comes_next_for_any_order_of_completion(
    method: str, lookahead: int, workers: int, ends: int, seed: int
) -> None:
    whole: Rows = {}
    serial = make(method, lookahead)
    drive(serial, whole, BUDGET, 0, world=seed)
    assert serial.finished
    live, rows = make(method, lookahead), Rows()
    in_flight = drive(live, rows, ends, seed, seed, workers)
    resumed, again = make(method, lookahead), dict(rows)
    resumed.replay(recorded(rows))
    assert drive(resumed, again, 0, 0, 0) == in_flight
    assert text(again) == text(rows)
    for proposals, made in ((live, rows), (resumed, again)):
        for each in in_flight:  # in proposal order
            made[each.evaluation] = (each.sample, outcome(each, seed), None)
            proposals.tell(each.evaluation, made[each.evaluation][1])
        drive(proposals, made, BUDGET, seed + 1, seed, workers)
        assert proposals.finished
        assert text(made) == text(whole)


class Adopting(Draws):
    """Draws of few samples, which take recorded ones in their place."""

    def __init__(self) -> None:
        super().__init__(BITS, seed=1)

    def adopt(self, sample: Sample) -> Draw:
        self.ask()
        return Draw(sample)


@given(workers=st.integers(1, 6), ends=st.integers(0, BUDGET), seed=st.integers(0, 10**6))
@examples(40)
def test_an_optimiser_that_adopts_rows_keeps_them_and_runs_no_sample_twice(
    workers: int, ends: int, seed: int
) -> None:
    """Its other proposals may depend on who ended first, but not the number of any evaluation."""

    def new() -> Proposals[Any]:
        return Proposals(Adopting(), BITS, budget=BUDGET, reuse=True)

    rows: Rows = {}
    drive(new(), rows, ends, seed, seed, workers)
    resumed, again = new(), dict(rows)
    resumed.replay(recorded(rows))
    drive(resumed, again, BUDGET, seed, seed, workers)
    assert resumed.finished
    assert sorted(again) == list(range(BUDGET))
    assert {number: again[number] for number in rows} == rows
    run = [BITS.key(sample) for sample, told, source in again.values() if source is None]
    errors = [BITS.key(s) for s, told, source in again.values() if source is None and told.failed]
    assert all(run.count(key) == 1 for key in set(run) - set(errors))
