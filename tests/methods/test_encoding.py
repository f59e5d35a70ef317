"""A genome survives what is done to it: written as a row, read back, and turned into a plan."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.errors import UserError
from revo_ray.finetune.plan import Plan
from revo_ray.methods import load_methods, make_method
from revo_ray.methods.genome import TRAINS
from revo_ray.methods.recipe import GENES
from revo_ray.rundir.evaluation import Evaluation, read_row, seal_row
from revo_ray.settings.schema import MethodConfig, TrainConfig
from tests.properties import examples
from tests.search.core.test_prepare import choices_of


@dataclass(frozen=True)
class Unit:
    name: str
    head: bool = False


RECIPE = ["weight_decay", *GENES]


def cases() -> Iterator[MethodConfig]:
    """Every method that there is, with each choice of each of its options."""
    for method in load_methods().values():
        options = method.Options.model_fields.items()
        chosen = [
            {key: choice} for key, field in options for choice in choices_of(field.annotation)
        ]
        for values in [
            {},
            *chosen,
            {"weight_decay": None},
            {"global_lr": 0.02},
            {"recipe": RECIPE},
        ]:
            if not values.keys() - method.Options.model_fields.keys():
                config = MethodConfig(name=method.name, **values)
                try:
                    make_method(config)
                except UserError:  # a type names values that the method does not take
                    continue
                yield config


CASES = list(cases())
NAMES = st.lists(st.text("ab.0_é ", min_size=1, max_size=6), min_size=2, max_size=5, unique=True)


def test_every_method_is_among_the_cases() -> None:
    assert {case.name for case in CASES} == set(load_methods())
    assert len(CASES) > 2 * len(load_methods())


@examples(150)
@given(
    case=st.sampled_from(CASES),
    optimizer=st.sampled_from(["sgd", "adamw"]),
    names=NAMES,
    seed=st.integers(0, 2**32 - 1),
)
def test_a_genome_survives_its_row_and_makes_the_same_plan(
    case: MethodConfig, optimizer: Any, names: list[str], seed: int
) -> None:
    method = make_method(case, train=TrainConfig(optimizer=optimizer))
    units = [Unit(name, head=name == names[-1]) for name in names]
    space = method.space(units)
    sample = space.random(np.random.default_rng(seed))
    plan, genome = method.plan(sample, units), method.genome(sample)
    assert len(plan.unit_lrs) == len(units)
    assert all(math.isfinite(gene) for gene in genome)
    values = plan.to_json()
    rates = values.pop("unit_lrs")
    row = Evaluation(
        evaluation=3, sample=sample, genome=genome, plan=values, unit_lrs=rates, status="ok"
    )
    again = read_row(seal_row(row), "memory")
    assert again == row
    space.validate(again.sample)
    assert list(again.sample) == list(space)
    assert space.key(again.sample) == space.key(sample)
    assert method.genome(again.sample) == genome
    assert method.plan(again.sample, units) == plan
    assert Plan.from_json(again.whole_plan) == plan
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@examples(60)
@given(case=st.sampled_from(CASES), names=NAMES, seed=st.integers(0, 2**32 - 1), data=st.data())
def test_a_gene_moves_its_own_unit_alone_or_what_all_units_share(
    case: MethodConfig, names: list[str], seed: int, data: st.DataObject
) -> None:
    """So a gene cannot stand for the unit beside its own."""
    method = make_method(case)
    units = [Unit(name, head=name == names[-1]) for name in names]
    space, rng = method.space(units), np.random.default_rng(seed)
    sample, other = space.random(rng), space.random(rng)
    gene = data.draw(st.sampled_from(list(space)))
    changed = sample | {gene: other[gene]}
    before, after = method.plan(sample, units), method.plan(changed, units)
    moved = {
        unit.name
        for unit, old, new in zip(units, before.unit_lrs, after.unit_lrs, strict=True)
        if old != new
    }
    own = {name for name in names if gene in (name, TRAINS + name)}
    if own:
        assert moved <= own
        assert (before.weight_decay, before.policy) == (after.weight_decay, after.policy)
        assert before.recipe == after.recipe
