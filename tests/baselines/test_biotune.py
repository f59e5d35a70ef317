"""BioTune: its plans, its breeding, and its worth on a known function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.biotune import Breeding, Individual
from benchmarks.set_encoding import Unit
from revo_ray.evolve.space import Real, Space
from revo_ray.methods import make_method
from revo_ray.settings.schema import MethodConfig, TrainConfig

UNITS = [Unit("stem"), *(Unit(f"body{i}") for i in range(8)), Unit("head", head=True)]
SPACE = Space({f"x{i}": Real(0.0, 1.0) for i in range(12)})


def made(optimizer: str = "adamw", **options: Any) -> Any:
    settings = MethodConfig.model_validate({"name": "biotune"} | options)
    return make_method(settings, train=TrainConfig(optimizer=optimizer))


def breeding(**options: Any) -> Breeding:
    own = {"population_size": 10, "elites": 3, "mutation": None, "sigma": 0.2, "seed": 0}
    return Breeding(SPACE, **own | options)


def generation(source: Breeding) -> list[Individual]:
    return [source.ask() for _ in range(source.population_size)]


@given(genes=st.lists(st.floats(0, 1), min_size=11, max_size=11))
def test_units_below_the_threshold_are_frozen_and_no_others(genes: list[float]) -> None:
    method = made(lr=0.003)
    sample = dict(zip(method.space(UNITS), genes, strict=True))
    plan = method.plan(sample, UNITS)
    for unit, rate, frozen in zip(UNITS, plan.unit_lrs, plan.frozen, strict=True):
        assert frozen == (sample[unit.name] < sample["threshold"] and not unit.head)
        if not frozen:
            assert rate == pytest.approx(0.003 * 10 ** (2 * sample[unit.name] - 1))


@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 1e-3), ("sgd", 1e-2)])
def test_a_gene_in_the_middle_has_the_base_rate(optimizer: str, rate: float) -> None:
    method = made(optimizer)
    plan = method.plan(dict.fromkeys(method.space(UNITS), 0.5), UNITS)
    assert plan.unit_lrs == pytest.approx([rate] * len(UNITS))


def test_children_have_genes_of_the_elites_but_for_moves() -> None:
    """Without a move each gene is a parent's; of equal values the earlier ones are parents."""
    source = breeding(sigma=1e-9, mutation=1.0)
    first = generation(source)
    values = [3.0, 1.0, 2.0, 1.0, *[9.0] * 6]
    source.tell([*zip(first, values, strict=True)])
    parents = np.array([first[i].genes for i in (1, 3, 2)])
    for child in generation(source):
        assert np.abs(parents - child.genes).min(axis=0).max() < 1e-6


def test_elites_stay_until_better_ones_come() -> None:
    source = breeding(sigma=1e-9, mutation=1.0, elites=1)
    best = generation(source)
    source.tell([(each, float(i)) for i, each in enumerate(best)])
    for _ in range(3):
        children = generation(source)
        assert all(np.allclose(child.genes, best[0].genes, atol=1e-6) for child in children)
        source.tell([(child, 5.0) for child in children])


def test_no_child_is_a_copy() -> None:
    source = breeding(mutation=1e-9, elites=1)
    source.tell([(each, float(place)) for place, each in enumerate(generation(source))])
    children = {tuple(source.ask().genes) for _ in range(50)}
    assert len(children) == 50


def test_moves_stay_in_the_cube_and_reach_its_ends() -> None:
    source = breeding(sigma=1.0, mutation=1.0)
    first = generation(source)
    source.tell([(each, 0.0) for each in first])
    genes = np.array([source.ask().genes for _ in range(300)])
    assert genes.min() >= 0
    assert genes.max() <= 1
    assert genes.min() < 0.02
    assert genes.max() > 0.98


def test_a_hundred_evaluations_find_more_than_chance() -> None:
    """A known optimum: the squared distance from it, over several seeds."""
    goal = np.linspace(0.1, 0.9, len(SPACE))
    bred, drawn = [], []
    for seed in range(8):
        source = breeding(seed=seed)
        values: list[float] = []
        for _ in range(10):
            told = [(each, float(np.sum((each.genes - goal) ** 2))) for each in generation(source)]
            source.tell(told)
            values += [value for _, value in told]
        bred.append(min(values))
        draws = np.random.default_rng(100 + seed).random((100, len(SPACE)))
        drawn.append(float(np.sum((draws - goal) ** 2, axis=1).min()))
    assert np.mean(bred) < 0.6 * np.mean(drawn)
