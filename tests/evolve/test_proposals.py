"""The determinism contract, with the real optimisers and arbitrary orders of completion."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Outcome, Proposal, Proposals, ReplayError
from revo_ray.evolve.space import Categorical, Integer, Real, Space
from tests.properties import examples

MIXED = Space(
    {f"bit{i}": Categorical((0, 1)) for i in range(5)}
    | {f"real{i}": Real(0.0, 1.0) for i in range(3)}
)
BITS = Space({f"bit{i}": Categorical((0, 1)) for i in range(3)})


def loss(sample: dict[str, Any]) -> float:
    return sum((float(v) - 0.3) ** 2 for v in sample.values())


def make(
    space: Space = MIXED, budget: int | None = 40, lookahead: int = 0, reuse: bool = False
) -> Proposals[Any]:
    return Proposals(CMAMV(space, seed=7), space, budget=budget, lookahead=lookahead, reuse=reuse)


def drive(
    proposals: Proposals[Any],
    workers: int,
    rng: random.Random,
    outcome: Callable[[Proposal], Outcome] = lambda p: Outcome(loss(p.sample)),
    lose: float = 0.0,
) -> dict[int, tuple[dict[str, Any], Outcome, int | None]]:
    """Run to the end on a number of workers that finish, and die, in random order."""
    rows: dict[int, tuple[dict[str, Any], Outcome, int | None]] = {}
    busy: list[Proposal] = []
    while not proposals.finished:
        while len(busy) < workers and (proposal := proposals.ask()) is not None:
            busy.append(proposal)
        for answered in proposals.take_answered():
            assert answered.source is not None
            rows[answered.evaluation] = (answered.sample, rows[answered.source][1], answered.source)
            proposals.tell(answered.evaluation, rows[answered.evaluation][1])
        if not busy:
            continue
        proposal = busy.pop(rng.randrange(len(busy)))
        if rng.random() < lose:
            proposals.requeue(proposal.evaluation)
            continue
        assert proposal.evaluation not in rows
        rows[proposal.evaluation] = (proposal.sample, outcome(proposal), None)
        proposals.tell(proposal.evaluation, rows[proposal.evaluation][1])
    return rows


@pytest.mark.parametrize("lookahead", [0, 3, 10, 23])
@given(workers=st.integers(1, 16), seed=st.integers(0, 10**6))
@examples(15)
def test_rows_do_not_depend_on_workers_order_or_deaths(
    lookahead: int, workers: int, seed: int
) -> None:
    serial = drive(make(lookahead=lookahead), 1, random.Random(0))
    parallel = drive(make(lookahead=lookahead), workers, random.Random(seed), lose=0.2)
    assert parallel == serial
    assert sorted(serial) == list(range(40))


@pytest.mark.parametrize("lookahead", [0, 4, 14])
@given(workers=st.integers(1, 8), seed=st.integers(0, 10**6), kept=st.integers(0, 40))
@examples(15)
def test_replay_of_any_prefix_in_time_continues_the_same_search(
    lookahead: int, workers: int, seed: int, kept: int
) -> None:
    whole = drive(make(lookahead=lookahead), 1, random.Random(0))
    rng = random.Random(seed)
    finished: list[int] = []
    drive(
        make(lookahead=lookahead),
        workers,
        rng,
        outcome=lambda p: finished.append(p.evaluation) or Outcome(loss(p.sample)),
    )
    resumed = make(lookahead=lookahead)
    before = set(finished[:kept])
    resumed.replay({n: whole[n][:2] for n in before})
    rest = drive(resumed, workers, rng)
    assert set(rest) == set(whole) - before  # nothing is made twice
    assert all(rest[n] == whole[n] for n in rest)


def test_lookahead_is_sampled_from_the_distribution_before_the_update() -> None:
    plain, ahead = make(budget=None), make(budget=None, lookahead=3)
    asked = [plain.ask() for _ in range(10)]
    asked_ahead = [ahead.ask() for _ in range(13)]
    assert plain.ask() is None
    assert ahead.ask() is None
    bare = CMAMV(MIXED, seed=7)
    expected = [bare.ask().sample for _ in range(13)]
    assert [p.sample for p in asked if p] == expected[:10]
    assert [p.sample for p in asked_ahead if p] == expected


@pytest.mark.parametrize("lookahead", [0, 3, 10, 23])
def test_the_samples_are_the_bare_optimisers(lookahead: int) -> None:
    """From the first generation on, each one is told whole before its successor's last samples."""
    bare = CMAMV(MIXED, seed=7)
    asked = [bare.ask() for _ in range(10 + lookahead)]
    for first in range(0, 40, 10):
        bare.tell([(each, loss(each.sample)) for each in asked[first : first + 10]])
        asked += [bare.ask() for _ in range(10)]
    rows = drive(make(lookahead=lookahead), 4, random.Random(0))
    assert [rows[n][0] for n in range(40)] == [each.sample for each in asked[:40]]


def test_a_repeated_sample_is_run_once_and_answered_by_the_first() -> None:
    runs: list[tuple[Any, ...]] = []

    def count(proposal: Proposal) -> Outcome:
        runs.append(tuple(proposal.sample.values()))
        return Outcome(loss(proposal.sample))

    rows = drive(make(BITS, reuse=True), 4, random.Random(1), outcome=count)
    assert len(rows) == 40
    assert len(runs) == len(set(runs)) <= 8
    for sample, outcome, source in rows.values():
        if source is not None:
            assert rows[source][0] == sample
            assert rows[source][1] == outcome
    one_worker = drive(make(BITS, reuse=True), 1, random.Random(5), outcome=count)
    assert one_worker == rows


def test_a_repeated_sample_whose_first_run_failed_by_accident_is_run_itself() -> None:
    rows = drive(make(BITS, reuse=True), 3, random.Random(1), outcome=_fresh_flaky())
    serial = drive(make(BITS, reuse=True), 1, random.Random(2), outcome=_fresh_flaky())
    assert rows == serial
    assert any(outcome.value is not None for _, outcome, _ in rows.values())


def _fresh_flaky() -> Callable[[Proposal], Outcome]:
    failed: set[tuple[Any, ...]] = set()

    def flaky(proposal: Proposal) -> Outcome:
        key = tuple(proposal.sample.values())
        if key in failed:
            return Outcome(loss(proposal.sample))
        failed.add(key)
        return Outcome(None, reusable=False)

    return flaky


class Same:
    """Proposes one sample again and again."""

    population_size = None
    sample: ClassVar = {"bit0": 1, "bit1": 0, "bit2": 0}

    def ask(self) -> Same:
        return self

    def tell(self, solutions: Any) -> None: ...


def test_after_a_resume_a_sample_is_answered_by_the_run_that_did_not_fail_by_accident() -> None:
    proposals: Proposals[Any] = Proposals(Same(), BITS, budget=3, reuse=True)
    sample = dict(Same.sample)
    proposals.replay({0: (sample, Outcome(None, reusable=False)), 1: (sample, Outcome(2.0))})
    assert proposals.ask() is None
    assert proposals.take_answered() == [Proposal(2, None, sample, source=1)]


class Listening(CMAMV):
    """Keeps what the optimiser was told."""

    def __init__(self) -> None:
        super().__init__(MIXED, seed=7)
        self.told: list[list[float]] = []

    def tell(self, solutions: Any) -> None:
        self.told.append([value for _, value in solutions])
        super().tell(solutions)


def test_failures_are_told_as_the_worst_finite_value_in_proposal_order() -> None:
    optimiser = Listening()
    proposals: Proposals[Any] = Proposals(optimiser, MIXED, budget=10)
    values = [3.0, math.nan, 1.0, math.inf, None, -math.inf, 2.0, 5.0, 4.0, 0.5]
    for value in values:
        proposal = proposals.ask()
        assert proposal is not None
        proposals.tell(proposal.evaluation, Outcome(value))
    assert optimiser.told == [[3.0, 5.0, 1.0, 5.0, 5.0, 5.0, 2.0, 5.0, 4.0, 0.5]]


@pytest.mark.parametrize("values", [[math.nan] * 10, [1.0] * 10, [None] * 9 + [1.0]])
def test_a_generation_without_spread_leaves_the_distribution_alone(values: list[Any]) -> None:
    optimiser = Listening()
    proposals: Proposals[Any] = Proposals(optimiser, MIXED)
    before = optimiser.distribution()
    for value in values:
        proposal = proposals.ask()
        assert proposal is not None
        proposals.tell(proposal.evaluation, Outcome(value))
    assert optimiser.told == []
    assert repr(optimiser.distribution()) == repr(before)
    assert proposals.ask() is not None  # and the next generation begins


def test_a_second_outcome_changes_nothing_and_an_unknown_one_is_an_error() -> None:
    proposals = make()
    first = proposals.ask()
    assert first is not None
    assert proposals.tell(first.evaluation, Outcome(1.0))
    assert not proposals.tell(first.evaluation, Outcome(math.nan))
    proposals.requeue(first.evaluation)
    second = proposals.ask()
    assert second is not None
    assert second.evaluation == 1
    with pytest.raises(ValueError, match="never proposed"):
        proposals.tell(99, Outcome(1.0))


def test_replay_refuses_rows_of_another_search() -> None:
    rows = {n: row[:2] for n, row in drive(make(), 1, random.Random(0)).items()}
    edited = dict(rows) | {12: ({**rows[12][0], "real0": 0.123}, rows[12][1])}
    with pytest.raises(ReplayError, match=r"evaluation 12 is recorded with real0=0\.123, but"):
        make().replay(edited)
    beyond = dict(rows) | {max(rows) + 1: rows[3]}
    with pytest.raises(ReplayError, match="beyond the budget"):
        make().replay(beyond)
    changed_value = dict(rows) | {3: (rows[3][0], Outcome(99.0))}
    with pytest.raises(ReplayError):
        make().replay(changed_value)


SCALES = Space(
    {f"rate{i}": Real(1e-6, 1.0, log=True) for i in range(4)}
    | {"drop": Real(0.0, 1.0, step=0.125), "bit": Categorical((0, 1)), "depth": Integer(1, 9)}
)


def along(sample: dict[str, Any], name: str, distance: float) -> dict[str, Any]:
    """A sample with one rate moved, by so many widths of its scale, and inwards."""
    factor = 10.0 ** (6 * distance)
    return sample | {name: sample[name] * (factor if sample[name] < 1e-3 else 1 / factor)}


def test_rounding_of_another_cpu_is_accepted_and_changes_nothing() -> None:
    whole = {n: row[:2] for n, row in drive(make(SCALES), 1, random.Random(0)).items()}
    rng = random.Random(1)
    rounded = {}
    for n in range(25):
        sample = whole[n][0]
        for name in [name for name in SCALES if name.startswith("rate")]:
            sample = along(sample, name, rng.uniform(-9e-10, 9e-10))
        assert sample != whole[n][0]
        rounded[n] = (sample, whole[n][1])
    resumed = make(SCALES)
    resumed.replay(rounded)
    rest = drive(resumed, 1, random.Random(0))
    assert {n: row[:2] for n, row in rest.items()} == {n: whole[n] for n in range(25, 40)}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda sample: along(sample, "rate1", 1e-6), "rate1"),
        (lambda sample: along(sample, "rate1", 2e-9), "rate1"),
        (lambda sample: sample | {"rate2": sample["rate2"] * (1 + 1e-6)}, "rate2"),
        (lambda sample: sample | {"rate2": math.nan}, "rate2"),
        (lambda sample: sample | {"rate2": "0.1"}, "rate2"),
        (lambda sample: sample | {"drop": sample["drop"] + 1e-12}, "drop"),
        (lambda sample: sample | {"bit": 1 - sample["bit"]}, "bit"),
        (lambda sample: sample | {"depth": sample["depth"] % 9 + 1}, "depth"),
        (lambda sample: {name: sample[name] for name in sample if name != "bit"}, "bit"),
    ],
)
@pytest.mark.parametrize("evaluation", [3, 34])
def test_a_gene_that_differs_by_more_than_rounding_is_named(
    change: Callable[[dict[str, Any]], dict[str, Any]], named: str, evaluation: int
) -> None:
    rows = {n: row[:2] for n, row in drive(make(SCALES), 1, random.Random(0)).items()}
    sample, outcome = rows[evaluation]
    rows[evaluation] = (change(sample), outcome)
    with pytest.raises(ReplayError, match=f"evaluation {evaluation} is recorded with {named}="):
        make(SCALES).replay(rows)


def test_a_value_beyond_a_bound_is_not_the_bound() -> None:
    space = Space({"x": Real(0.0, 1.0)})
    assert space.differing({"x": 1.0}, {"x": 1.0 - 1e-10}, 1e-9) is None
    assert space.differing({"x": 1.0 + 1e-10}, {"x": 1.0}, 1e-9) == "x"


@pytest.mark.parametrize("space", [MIXED, SCALES], ids=["linear", "log"])
@pytest.mark.parametrize(("first", "second"), [(2, 3), (11, 30)])
def test_exchanged_rows_are_refused(space: Space, first: int, second: int) -> None:
    rows = {n: row[:2] for n, row in drive(make(space), 1, random.Random(0)).items()}
    rows[first], rows[second] = rows[second], rows[first]
    with pytest.raises(ReplayError, match=f"evaluation {first} is recorded with"):
        make(space).replay(rows)


class Narrowing:
    """Proposes the middle, from a distribution that is a hundred thousand times narrower later."""

    population_size = 4
    sample: ClassVar = {"x": 0.5}

    def __init__(self) -> None:
        self.sigma = 1e-3

    def ask(self) -> Narrowing:
        return self

    def tell(self, solutions: Any) -> None:
        self.sigma = 1e-8

    def distribution(self) -> dict[str, Any]:
        return {"sigma": self.sigma}


@pytest.mark.parametrize("lookahead", [0, 3])
def test_a_narrow_distribution_allows_less(lookahead: int) -> None:
    """Differences stay below a thousandth of the step size that a candidate was drawn with."""

    def resumes(evaluation: int, distance: float) -> bool:
        space = Space({"x": Real(0.0, 1.0)})
        proposals = Proposals(Narrowing(), space, budget=12, lookahead=lookahead)
        rows = {n: ({"x": 0.5}, Outcome(float(n))) for n in range(12)}
        try:
            proposals.replay(rows | {evaluation: ({"x": 0.5 + distance}, Outcome(1.5))})
        except ReplayError:
            return False
        return True

    wide = range(4 + lookahead)
    assert [resumes(n, 5e-10) for n in range(12)] == [n in wide for n in range(12)]
    assert all(resumes(n, 5e-12) for n in range(12))
    assert not any(resumes(n, 2e-9) for n in range(12))


def test_a_recorded_sample_stands_for_its_evaluation() -> None:
    """Samples that were equal on the other CPU are answered by its row."""
    space = Space({"x": Real(0.0, 1.0)})

    class Once(Same):
        sample: ClassVar = {"x": 0.5 + 1e-10}

    def new() -> Proposals[Any]:
        return Proposals(Once(), space, budget=2, reuse=True)

    for recorded, source in ((0.5 + 1e-10, 0), (0.5, None)):
        proposals = new()
        proposals.replay({0: ({"x": recorded}, Outcome(1.0))})
        asked = proposals.ask()
        (proposal,) = [asked] if asked else proposals.take_answered()
        assert (proposal.evaluation, proposal.source) == (1, source)


def test_replay_takes_choices_that_json_gave_another_type() -> None:
    space = Space({"rates": Categorical(((0.0, 0.1), (0.1, 0.0))), "real": Real(0.0, 1.0)})

    def outcome(proposal: Proposal) -> Outcome:
        return Outcome(proposal.sample["real"] + proposal.sample["rates"][0])

    rows = drive(make(space), 1, random.Random(0), outcome)
    read = {n: (json.loads(json.dumps(sample)), told) for n, (sample, told, _) in rows.items()}
    assert any(read[n][0] != rows[n][0] for n in rows)
    again = make(space)
    again.replay({n: read[n] for n in range(25)})
    assert drive(again, 1, random.Random(1), outcome) == {n: rows[n] for n in range(25, 40)}


def test_lookahead_of_more_than_three_generations_is_refused() -> None:
    with pytest.raises(ValueError, match="lookahead is 31; it may be 0 to 3 times"):
        make(lookahead=31)


@given(population=st.integers(4, 7), lookahead=st.integers(0, 12), held=st.integers(0, 20))
@examples(40)
def test_what_depends_on_an_evaluation_waits_for_it_and_nothing_else_does(
    population: int, lookahead: int, held: int
) -> None:
    optimiser = CMAMV(BITS, seed=7, population_size=population)
    proposals: Proposals[Any] = Proposals(optimiser, BITS, lookahead=lookahead)
    seen = []
    while (proposal := proposals.ask()) is not None:
        seen.append(proposal.evaluation)
        assert proposal.generation == proposal.evaluation // population
        if proposal.evaluation != held:
            proposals.tell(proposal.evaluation, Outcome(loss(proposal.sample)))
    assert seen == list(range(proposals.first_dependent(held)))
    # A generation is told whole, and each one told lets as many be sampled as it had.
    told = held // population
    assert len(seen) == (told + 1) * population + lookahead


def test_a_key_in_place_of_the_space_is_refused_at_once() -> None:
    key: Any = BITS.key
    with pytest.raises(TypeError, match="takes the space itself"):
        Proposals(CMAMV(BITS), key)
