"""The sweep that opens a search, and what the search makes of it."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.evolve.algorithms import ALGORITHMS
from revo_ray.evolve.cmamv import CMAMV
from revo_ray.evolve.proposals import Outcome, Proposal, Proposals
from revo_ray.evolve.space import Categorical, Real, Space
from revo_ray.methods import Evolved, Method, Plan, RevoContinuous, SearchOptions, make_method
from revo_ray.search.core.prepare import resolve
from revo_ray.settings.schema import MethodConfig, SearchConfig
from tests.evolve.test_proposals import drive
from tests.properties import examples

UNITS = [SimpleNamespace(name=f"unit{n}", head=n == 4) for n in range(5)]
SWEPT = [
    *("revo-continuous", "revo-continuous scale=relative", "revo-mixed", "revo-binary"),
    *("revo-continuous recipe=[weight_decay,momentum] low=-3 high=-1", "revo-mixed recipe=[mixup]"),
    *(f"revo-continuous algorithm={name}" for name in ("cma", "cmawm", "sop")),
    *("revo-mixed algorithm=cmawm", "revo-binary algorithm=sop head=searched start=0.1"),
]
UNSWEPT = [
    *("revo-continuous sweep=false", "revo-continuous scale=linear", "revo-binary global_lr=0.01"),
    *("revo-mixed sweep=false", "random", "random encoding=mixed", "set-encoding"),
]

VALUES = st.sampled_from([None, math.nan, math.inf, 0.5, 1.0, 2.0])


def searcher(
    method: str, evaluations: int = 40, population: int = 10, lookahead: int = 0, seed: int = 0
) -> tuple[Method, Proposals[Any]]:
    name, *options = method.split()
    settings = [f"method.name={name}", *(f"method.{option}" for option in options)]
    search = {"evaluations": evaluations, "population": population, "lookahead": lookahead}
    settings += [f"search.{key}={value}" for key, value in (search | {"seed": seed}).items()]
    config, made = resolve(SearchConfig.load(None, settings))
    return made, made.searcher(made.space(UNITS), config.search)


def first_generation(method: str, population: int = 10, seed: int = 0) -> list[tuple[Any, Plan]]:
    made, proposals = searcher(method, population=population, seed=seed)
    found = [proposals.ask() for _ in range(population)]
    return [(each.sample, made.plan(each.sample, UNITS)) for each in found if each is not None]


def outcome(proposal: Proposal) -> Outcome:
    """A value of the sample; some fail."""
    chance = random.Random(repr(sorted(proposal.sample.items())))
    return Outcome(chance.choice([None, math.nan, *(chance.random() for _ in range(8))]))


@pytest.mark.parametrize("method", SWEPT)
@pytest.mark.parametrize("population", [4, 7, 10, 15])
def test_it_has_one_rate_in_each_plan_evenly_spaced_over_the_range(
    method: str, population: int
) -> None:
    low, high = (-3, -1) if "low=-3" in method else (-6, 0)
    edges = np.linspace(low, high, population + 1)
    plans = [plan for _, plan in first_generation(method, population)]
    rates = [set(plan.unit_lrs) for plan in plans]
    assert all(len(each) == 1 for each in rates)
    logs = [math.log10(rate) for (rate,) in rates]
    assert sorted(logs) == pytest.approx(((edges[1:] + edges[:-1]) / 2).tolist())


@pytest.mark.parametrize("method", SWEPT)
def test_the_middle_comes_first_and_then_halves(method: str) -> None:
    """So it is even after 1, 3, 7 … plans."""
    logs = [math.log10(plan.unit_lrs[0]) for _, plan in first_generation(method, 15)]
    for count in (1, 3, 7):
        step = 16 // (count + 1)
        assert sorted(logs[:count]) == pytest.approx(sorted(logs)[step - 1 :: step])


@pytest.mark.parametrize("method", SWEPT)
def test_all_other_genes_stay_where_they_start_and_nothing_is_frozen(method: str) -> None:
    made, _ = searcher(method)
    space = made.space(UNITS)
    samples = [sample for sample, _ in first_generation(method)]
    varied = {name for name in space if len({sample[name] for sample in samples}) > 1}
    rates = {unit.name for unit in UNITS}
    assert varied in (rates, {"base_lr"}, {"global_lr"})
    starts = CMAMV(space).distribution()["variables"]
    for name in set(space) - varied:
        is_bit = isinstance(space[name], Categorical)
        assert samples[0][name] == (1 if is_bit else pytest.approx(starts[name]))
    if "weight_decay" in space:
        assert samples[0]["weight_decay"] == pytest.approx(math.sqrt(1e-6 * 1e-1))


@pytest.mark.parametrize("method", [*SWEPT, *UNSWEPT])
def test_only_a_sweep_is_the_same_for_every_seed_and_drawn_from_nothing(method: str) -> None:
    swept = method in SWEPT
    one, other = (first_generation(method, seed=seed) for seed in (1, 2))
    assert (one == other) == swept
    made, proposals = searcher(method)
    assert (proposals.distributions[:1] == [{}]) == swept
    assert made.sweeps == swept


@pytest.mark.parametrize("method", SWEPT)
@given(lookahead=st.integers(0, 30), values=st.lists(VALUES, min_size=10, max_size=10))
@examples(6)
def test_the_search_begins_at_its_best_and_is_told_nothing_of_it(
    method: str, lookahead: int, values: list[float | None]
) -> None:
    made, proposals = searcher(method, lookahead=lookahead)
    samples = []
    for value in values:
        proposal = proposals.ask()
        assert proposal is not None
        samples.append(proposal.sample)
        assert proposal.evaluation == len(samples) - 1
        proposals.tell(proposal.evaluation, Outcome(value))
    space, options = made.space(UNITS), made.options
    finite = [value if value is not None and math.isfinite(value) else 9.0 for value in values]
    if min(finite) < 9.0:  # the first of equal ones; the middle if all failed
        space = space.starting_at(samples[finite.index(min(finite))])
    bare = CMAMV(space, algorithm=options.algorithm, covariance=options.covariance, seed=0)
    assert repr(proposals.distributions[1]) == repr(bare.distribution())
    behind = []
    while (proposal := proposals.ask()) is not None:
        behind.append(proposal)
    behind = sorted(behind + proposals.take_answered(), key=lambda each: each.evaluation)
    assert [each.evaluation for each in behind] == [*range(10, min(20 + lookahead, 40))]
    assert [each.sample for each in behind] == [bare.ask().sample for _ in behind]


@pytest.mark.parametrize("method", SWEPT)
def test_nothing_is_sampled_behind_it_before_it_ended(method: str) -> None:
    _, proposals = searcher(method, lookahead=30)
    asked = [proposals.ask() for _ in range(11)]
    assert asked[10] is None
    for number in (*range(1, 10), 0):
        assert proposals.ask() is None
        assert proposals.first_dependent(number) == 10
        proposals.tell(number, Outcome(float(number)))
    assert proposals.ask() is not None


@pytest.mark.sample(4)
@pytest.mark.parametrize("method", SWEPT)
@given(
    lookahead=st.integers(0, 30),
    workers=st.integers(1, 16),
    seed=st.integers(0, 10**6),
    kept=st.integers(0, 40),
)
@examples(4)
def test_rows_do_not_depend_on_workers_order_deaths_or_interruptions(
    method: str, lookahead: int, workers: int, seed: int, kept: int
) -> None:
    def make() -> Proposals[Any]:
        return searcher(method, lookahead=lookahead)[1]

    def note(proposal: Proposal) -> Outcome:
        finished.append(proposal.evaluation)
        return outcome(proposal)

    finished: list[int] = []
    serial = drive(make(), 1, random.Random(0), outcome)
    parallel = drive(make(), workers, random.Random(seed), note, lose=0.2)
    assert repr(sorted(parallel.items())) == repr(sorted(serial.items()))
    resumed, before = make(), set(finished[:kept])
    before |= {n for n in serial if serial[n][2] in before and n < max(before)}
    resumed.replay({n: serial[n][:2] for n in before})
    rest = drive(resumed, workers, random.Random(seed), outcome)
    assert repr(sorted(rest.items())) == repr(
        [(n, serial[n]) for n in sorted(set(serial) - before)]
    )


@pytest.mark.parametrize("method", [*SWEPT, *UNSWEPT])
@given(lookahead=st.sampled_from([0, 3, 10]), evaluations=st.integers(1, 39))
@examples(3)
def test_no_proposal_depends_on_the_number_of_evaluations(
    method: str, lookahead: int, evaluations: int
) -> None:
    few, many = (
        drive(searcher(method, count, lookahead=lookahead)[1], 1, random.Random(0), outcome)
        for count in (evaluations, 40)
    )
    assert repr(few) == repr({number: many[number] for number in few})
    assert sorted(few) == list(range(evaluations))


@pytest.mark.parametrize("algorithm", ["catcmawm", "cma", "cmawm", "sop"])
@pytest.mark.parametrize("lookahead", [0, 3])
def test_without_it_independent_rates_are_those_of_a_plain_space(
    algorithm: str, lookahead: int
) -> None:
    """Bit for bit, over generations."""
    options = f"algorithm={algorithm} sweep=false covariance=independent sigma=0.125"
    _, proposals = searcher(f"revo-continuous {options}", lookahead=lookahead)
    space = Space({unit.name: Real(0.0, 1.0) for unit in UNITS})
    optimiser = CMAMV(space, algorithm=algorithm, sigma=0.125)
    plain = Proposals(optimiser, space, budget=40, lookahead=lookahead, reuse=True)
    ours, theirs = (drive(each, 1, random.Random(0), outcome) for each in (proposals, plain))
    assert repr(ours) == repr(theirs)


NETWORK = [SimpleNamespace(name=f"unit{n}", head=n == 159) for n in range(160)]


@pytest.mark.parametrize("seed", range(3))
def test_a_search_of_160_rates_beats_one_rate_for_all_whatever_the_scale(seed: int) -> None:
    """The best exponents lie on a wave along the network, around one that nobody knows."""
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * (np.linspace(0, 1, 160) + rng.random()))
    best = rng.uniform(-5, -1) + wave

    def loss(plan: Plan) -> float:
        return float(np.mean((np.log10(plan.unit_lrs) - best) ** 2))

    def lowest(*settings: str) -> float:
        options = ["search.evaluations=100", f"search.seed={seed}", *settings]
        config, method = resolve(SearchConfig.load(None, options))
        proposals = method.searcher(method.space(NETWORK), config.search)
        rows = drive(
            proposals, 1, random.Random(0), lambda p: Outcome(loss(method.plan(p.sample, NETWORK)))
        )
        return min(told.value for _, told, _ in rows.values() if told.value is not None)

    one_rate = float(np.var(best))  # the loss of the best one that there is
    assert lowest() < 0.6 * one_rate
    assert lowest("method.sweep=false", "method.covariance=independent") > one_rate


@pytest.mark.parametrize("width", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_most_rates_of_a_narrow_range_lie_within_it(algorithm: str, width: float) -> None:
    options = {"low": -3.0, "high": -3.0 + width, "sweep": False, "algorithm": algorithm}
    method = make_method(MethodConfig(name="revo-continuous", **options))
    units = [SimpleNamespace(name=f"unit{n}", head=n == 8) for n in range(9)]
    proposals = method.searcher(method.space(units), SearchOptions(population=10))
    found = [proposals.ask() for _ in range(10)]
    genes = [gene for each in found if each for gene in each.sample.values()]
    assert len(genes) == 90
    assert sum(gene in (0.0, 1.0) for gene in genes) < 30


class OwnGenome:
    """A genome of a plugin, which knows neither sweeps nor earlier searches."""

    def space(self, units: Any) -> Space:
        return Space({unit.name: Real(0.0, 1.0) for unit in units})

    def plan(self, sample: Any, units: Any) -> Plan:
        return Plan(tuple(sample[unit.name] for unit in units))


class OwnSearcher(RevoContinuous):
    """A method of a plugin that proposes otherwise."""

    def searcher(self, space: Space, search: SearchOptions) -> Proposals[Any]:
        return super().searcher(space, search)


def test_methods_of_plugins_sweep_only_as_the_genomes_here_do() -> None:
    """An inherited option says nothing of what a plugin proposes."""
    own = Evolved(RevoContinuous.Options())
    own.genome_type = OwnGenome()  # type: ignore[assignment]
    other = OwnSearcher(OwnSearcher.Options())
    for method in (own, other):
        assert not method.sweeps
        assert not method.starts_warm
    proposal = own.searcher(own.space(UNITS), SearchOptions()).ask()
    assert proposal is not None
    assert len(set(proposal.sample.values())) > 1


@pytest.mark.parametrize(("method", "swept"), [(SWEPT[0], True), (UNSWEPT[1], False)])
def test_a_search_records_whether_it_sweeps(method: str, swept: bool) -> None:
    name, *options = method.split()
    settings = [f"method.name={name}", *(f"method.{option}" for option in options)]
    resolved, _ = resolve(SearchConfig.load(None, settings))
    assert resolved.method.options["sweep"] is swept
    assert resolved.has_sweep is swept
