"""Set encoding: the space, what breeding does to genes, determinism, and its worth."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from baselines.genetic import Genes, Genetic, Individual
from baselines.set_encoding import SetEncoding
from benchmarks.set_encoding import Matching, Unit, compare
from revo_ray.errors import UserError
from revo_ray.evolve.proposals import Outcome, Proposal, Proposals, ReplayError, Sample
from revo_ray.evolve.space import Categorical, Integer, Real, Space
from revo_ray.methods import make_method
from revo_ray.settings.schema import MethodConfig, SearchOptions, TrainConfig

UNITS = [Unit("stem"), *(Unit(f"body{i}") for i in range(8)), Unit("head", head=True)]
BUDGET = 45
RATES = (0.0, 0.01, 0.1, 1.0)


def make(units: list[Unit] = UNITS, options: dict[str, Any] | None = None, **search: Any):
    method = SetEncoding(SetEncoding.Options(**{"rates": RATES} | (options or {})))
    budget = SearchOptions(**{"evaluations": BUDGET, "population": 6, "seed": 3} | search)
    return method.searcher(method.space(units), budget)


def loss(sample: Sample) -> float | None:
    """Every third genome fails, so that failures are a part of every trajectory here."""
    total = sum((rate - 0.1) ** 2 * (i + 1) for i, rate in enumerate(sample.values()))
    return None if int(total * 1e6) % 3 == 0 else total


def drive(proposals: Proposals[Any], workers: int = 1, seed: int = 0) -> list[Proposal]:
    """Run to the end on workers that finish in random order; proposals by order of finishing."""
    rng, busy, finished = random.Random(seed), [], []
    while not proposals.finished:
        while len(busy) < workers and (proposal := proposals.ask()) is not None:
            busy.append(proposal)
        answered = proposals.take_answered()
        if busy and not answered:
            answered = [busy.pop(rng.randrange(len(busy)))]
        for proposal in answered:
            finished.append(proposal)
            proposals.tell(proposal.evaluation, Outcome(loss(proposal.sample)))
    return finished


def trajectory(finished: list[Proposal]) -> list[Sample]:
    return [p.sample for p in sorted(finished, key=lambda p: p.evaluation)]


@pytest.mark.parametrize(
    ("optimizer", "rates"), [("sgd", RATES), ("adamw", (0.0, 0.001, 0.01, 0.1))]
)
def test_a_unit_takes_any_rate_and_the_head_any_but_zero(
    optimizer: str, rates: tuple[float, ...]
) -> None:
    method = make_method(MethodConfig(name="set-encoding"), train=TrainConfig(optimizer=optimizer))
    space = method.space(UNITS)
    drawn = [space.random(np.random.default_rng(seed)) for seed in range(300)]
    for unit in UNITS:
        seen = {plan.unit_lrs[UNITS.index(unit)] for plan in (method.plan(s, UNITS) for s in drawn)}
        assert seen == set(rates[1:] if unit.head else rates)
    sample = drawn[0]
    plan = method.plan(sample, UNITS)
    assert plan.unit_lrs == tuple(sample[unit.name] for unit in UNITS)
    assert plan.frozen == tuple(sample[unit.name] == 0 for unit in UNITS)
    assert method.genome(json.loads(json.dumps(sample))) == list(plan.unit_lrs)


@pytest.mark.parametrize("rates", [[], [0.1], [0.0, 0.1, 0.1], [0.1, -0.1], [0.1, float("inf")]])
def test_rates_that_are_no_set_of_rates_are_refused(rates: list[float]) -> None:
    with pytest.raises(ValidationError, match="rates"):
        SetEncoding.Options(rates=rates)


def test_a_network_where_nothing_varies_is_the_users_error() -> None:
    with pytest.raises(UserError, match="more than one") as caught:
        make([Unit("head", head=True)], {"rates": [0, 0.1]})
    assert caught.value.key == "method.rates"
    with pytest.raises(ValueError, match="discrete"):
        genetic(Space({"x": Real(0.0, 1.0), "y": Integer(0, 3)}))


@pytest.mark.parametrize("lookahead", [0, 3, 6])
def test_the_trajectory_is_the_bare_optimisers_in_whatever_order_trials_end(lookahead: int) -> None:
    method = SetEncoding(SetEncoding.Options(rates=RATES))
    bare = Genetic(
        method.space(UNITS),
        population_size=6,
        seed=3,
        **method.options.model_dump(exclude={"rates", "recipe"}),
    )
    asked = [bare.ask() for _ in range(6 + lookahead)]
    for first in range(0, BUDGET, 6):
        values = [loss(each.sample) for each in asked[first : first + 6]]
        worst = max(value for value in values if value is not None)
        told = [worst if value is None else value for value in values]
        bare.tell(list(zip(asked[first : first + 6], told, strict=True)))
        asked += [bare.ask() for _ in range(6)]
    expected = [each.sample for each in asked[:BUDGET]]
    for workers, seed in ((1, 0), (3, 1), (16, 2), (16, 3)):
        assert trajectory(drive(make(lookahead=lookahead), workers, seed)) == expected
    assert trajectory(drive(make(lookahead=lookahead, seed=4))) != expected


@pytest.mark.parametrize("lookahead", [0, 3])
def test_a_search_interrupted_anywhere_goes_on_as_if_it_were_not(lookahead: int) -> None:
    whole = drive(make(lookahead=lookahead), workers=4, seed=1)
    for kept in range(BUDGET + 1):
        resumed = make(lookahead=lookahead)
        rows = {p.evaluation: (p.sample, Outcome(loss(p.sample))) for p in whole[:kept]}
        resumed.replay(json_rows(rows))
        rest = drive(resumed, workers=2, seed=kept)
        assert len(rest) == BUDGET - kept
        assert trajectory(whole[:kept] + rest) == trajectory(whole)


def json_rows(rows: dict[int, tuple[Sample, Outcome]]) -> dict[int, tuple[Sample, Outcome]]:
    return {number: (json.loads(json.dumps(s)), outcome) for number, (s, outcome) in rows.items()}


def test_an_edited_row_is_noticed() -> None:
    sample, outcome = drive(make())[0].sample, Outcome(1.0)
    with pytest.raises(ReplayError):
        make().replay({0: (sample | {"stem": 0.01 if sample["stem"] != 0.01 else 0.1}, outcome)})


def genetic(space: Space, **settings: Any) -> Genetic:
    defaults = {"population_size": 10, "parents": 0.3, "crossover": 1.0, "mutation": None}
    return Genetic(space, **defaults | {"elitism": 1.0, "seed": 0} | settings)


LONG = Space({f"gene{i}": Categorical(tuple("abcd")) for i in range(200)} | {"n": Integer(5, 7)})


def tell_next(optimiser: Genetic, values: list[float]) -> list[Individual]:
    """Ask for a generation and tell it."""
    asked = [optimiser.ask() for _ in values]
    optimiser.tell(list(zip(asked, values, strict=True)))
    return asked


def test_children_mix_the_genes_of_two_of_the_best() -> None:
    optimiser = genetic(LONG, mutation=0.0)
    asked = tell_next(optimiser, [5, 1, 4, 2, 9, 3, 7, 8, 6, 5.5])
    best = [asked[1].genes, asked[3].genes, asked[5].genes]
    pairs = set()
    for child in (optimiser.ask().genes for _ in range(60)):
        shares = [np.mean([a == b for a, b in zip(child, parent, strict=True)]) for parent in best]
        first, second = sorted(np.argsort(shares)[1:])
        pairs.add((first, second))
        both = zip(best[first], best[second], strict=True)
        assert all(gene in pair for gene, pair in zip(child, both, strict=True))
        # about half of its genes from each, and a quarter of the other half equal by accident
        assert all(0.45 < shares[i] < 0.8 for i in (first, second))
    assert pairs == {(0, 1), (0, 2), (1, 2)}


def test_mutation_changes_each_gene_as_often_as_it_says_to_any_other_value() -> None:
    optimiser = genetic(LONG, crossover=0.0, mutation=0.2, parents=0.1)
    asked = tell_next(optimiser, [2, 2, 2, 2, 1, 2, 2, 2, 2, 2])
    parent = np.array(asked[4].genes)
    children = np.array([optimiser.ask().genes for _ in range(100)])
    changed = int((children != parent).sum())
    assert stats.binomtest(changed, children.size, 0.2).pvalue > 0.001
    steps = ((children - parent) % 4)[:, :-1]
    assert stats.chisquare([(steps == step).sum() for step in (1, 2, 3)]).pvalue > 0.001
    assert {LONG["n"].contains(optimiser.ask().sample["n"]) for _ in range(50)} == {True}


def test_one_gene_in_a_genome_mutates_by_default() -> None:
    n = len(LONG)
    by_default, told = genetic(LONG), genetic(LONG, mutation=1 / n)
    for generation in range(4):
        values = [float((7 * i + generation) % 10) for i in range(10)]
        assert tell_next(by_default, values) == tell_next(told, values)


@pytest.mark.parametrize(("elitism", "stay"), [(1.0, 2), (0.5, 1), (0.0, 0)])
def test_as_many_of_the_best_stay_parents_as_elitism_allows(elitism: float, stay: int) -> None:
    optimiser = genetic(LONG, parents=0.2, crossover=0.0, mutation=0.0, elitism=elitism)
    old = tell_next(optimiser, [float(i) for i in range(10)])
    bred: set[Genes] = {optimiser.ask().genes for _ in range(40)}  # nothing but copies
    assert bred == {old[0].genes, old[1].genes}
    strangers = [Individual({}, tuple(gene ^ 1 for gene in each.genes)) for each in old]
    optimiser.tell([(each, 10.0 + i) for i, each in enumerate(strangers)])
    expected = [each.genes for each in old[:stay] + strangers[: 2 - stay]]
    assert {optimiser.ask().genes for _ in range(40)} == set(expected)


def test_equal_values_rank_in_the_order_of_proposal() -> None:
    optimiser = genetic(LONG, parents=0.2, crossover=0.0, mutation=0.0)
    asked = tell_next(optimiser, [3, 2, 3, 1, 2, 2, 3, 3, 3, 3])
    assert {optimiser.ask().genes for _ in range(40)} == {asked[1].genes, asked[3].genes}


def test_no_genome_is_proposed_twice_while_there_are_others_at_hand() -> None:
    samples = trajectory(drive(make(evaluations=100, population=10)))
    assert len({tuple(sample.values()) for sample in samples}) == len(samples) == 100


def test_a_space_smaller_than_the_budget_ends_with_answered_repeats() -> None:
    units = [Unit("stem"), Unit("head", head=True)]
    proposals = make(units)
    finished = drive(proposals, workers=3)
    assert len(finished) == BUDGET
    trained = [tuple(p.sample.values()) for p in finished if p.source is None]
    assert len(set(trained)) == len(trained) <= 12


def test_generations_without_a_score_are_followed_by_fresh_random_ones() -> None:
    proposals = make(evaluations=600)
    genes = []
    while (proposal := proposals.ask()) is not None:
        genes.append(list(proposal.sample.values()))
        proposals.tell(proposal.evaluation, Outcome(float("nan")))
    assert len(genes) == 600
    counts = [sum(row[:-1].count(rate) for row in genes[-300:]) for rate in RATES]
    assert stats.chisquare(counts).pvalue > 0.001


def test_the_benchmarks_function_is_nought_at_the_hidden_genome_alone() -> None:
    space = SetEncoding(SetEncoding.Options()).space(UNITS)
    function = Matching(space, seed=1)
    assert function(function.hidden) == 0
    for name, variable in space.items():
        for rate in set(variable.choices) - {function.hidden[name]}:
            assert function(function.hidden | {name: rate}) > 0


@pytest.mark.parametrize("units", [20, 50])
def test_it_beats_random_draws_from_its_own_space_at_100_evaluations(units: int) -> None:
    found = compare(units, seeds=10, evaluations=100)
    bred, drawn = np.array(found["set-encoding"]), np.array(found["random"])
    assert (bred < drawn).all()
    assert stats.wilcoxon(bred, drawn, alternative="less").pvalue < 0.001
    assert bred.mean() < 0.75 * drawn.mean()


@pytest.mark.nightly
def test_the_benchmark_prints_one_json_line() -> None:
    command = [sys.executable, "-m", "benchmarks.set_encoding", "--seeds", "1"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    for units in ("20 units", "50 units"):
        assert line[units]["set-encoding"]["mean"] < line[units]["random"]["mean"]
