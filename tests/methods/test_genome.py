"""Genomes: their spaces, and the plans that samples of them become."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from revo_ray.errors import UserError
from revo_ray.methods import Real, make_method
from revo_ray.methods.genome import BinaryGenome, ContinuousGenome, Genome, RelativeGenome
from revo_ray.methods.recipe import GENES
from revo_ray.settings.schema import MethodConfig, SearchOptions, TrainConfig


@dataclass(frozen=True)
class Unit:
    name: str
    head: bool = False


UNITS = (Unit("stem"), Unit("body"), Unit("fc", head=True))


def test_a_bit_for_each_unit_but_the_head_and_one_rate() -> None:
    genome = BinaryGenome()
    assert list(genome.space(UNITS)) == ["stem", "body", "global_lr"]
    plan = genome.plan({"stem": 0, "body": 1, "global_lr": 0.01}, UNITS)
    assert plan.unit_lrs == (0, 0.01, 0.01)
    searched = BinaryGenome(head="searched", global_lr=0.1)
    assert searched.plan({"stem": 1, "body": 0, "fc": 0}, UNITS).unit_lrs == (0.1, 0, 0)


def test_a_gene_is_the_rate_or_its_place_between_exponents() -> None:
    sample = {"stem": 0.0, "body": 0.5, "fc": 0.0}
    log = ContinuousGenome(low=-4, high=-1).plan(sample, UNITS).unit_lrs
    assert log == pytest.approx((1e-4, 10**-2.5, 1e-4))
    linear = ContinuousGenome(scale="linear").plan(sample, UNITS).unit_lrs
    assert linear == (0, 0.5, 1e-6)  # the head always trains


def test_a_rate_is_so_many_decades_from_the_base_rate() -> None:
    genome = RelativeGenome(low=-4, high=-2, start=0.5, spread=1.5)
    space = genome.space(UNITS)
    assert list(space) == ["base_lr", "weight_decay", "stem", "body", "fc"]
    assert space["base_lr"].start == pytest.approx(1e-3)
    sample = {"base_lr": 1e-3, "weight_decay": 0.01, "stem": -1.5, "body": 0.0, "fc": 1.0}
    plan = genome.plan(sample, UNITS)
    assert plan.unit_lrs == pytest.approx((1e-3 * 10**-1.5, 1e-3, 1e-2))
    assert plan.weight_decay == 0.01


def test_a_mixed_genome_has_a_bit_beside_each_ratio_but_the_heads() -> None:
    genome = RelativeGenome(frozen=0.25, weight_decay=None)
    space = genome.space(UNITS)
    assert list(space) == ["base_lr", "trains stem", "trains body", "stem", "body", "fc"]
    assert space["trains stem"].probabilities.tolist() == [0.25, 0.75]
    sample = {"base_lr": 0.1, "trains stem": 0, "trains body": 1, "stem": 1, "body": 0, "fc": -1}
    plan = genome.plan(sample, UNITS)
    assert plan.unit_lrs == pytest.approx((0, 0.1, 0.01))
    assert plan.weight_decay == 0


def test_settings_are_genes_beside_the_rates() -> None:
    genome = RelativeGenome(recipe=("momentum", "label_smoothing"))
    space = genome.space(UNITS)
    shared = ["base_lr", "weight_decay", "momentum", "label_smoothing"]
    assert list(space) == [*shared, "stem", "body", "fc"]
    sample = {"base_lr": 1e-3, "weight_decay": 0.01, "momentum": 0.5, "label_smoothing": 0.25}
    plan = genome.plan(sample | {"stem": 0, "body": 0, "fc": 0}, UNITS)
    assert plan.recipe == {"momentum": 0.5, "label_smoothing": 0.25}
    assert plan.weight_decay == 0.01


@pytest.mark.parametrize("genome", [BinaryGenome, ContinuousGenome, RelativeGenome])
def test_every_genome_has_the_weight_decay_that_its_recipe_names(genome: type[Genome]) -> None:
    space = genome(recipe=("weight_decay",), weight_decay=None).space(UNITS)
    assert space["weight_decay"] == Real(1e-6, 1e-1, log=True)
    sample = space.random(np.random.default_rng(0))
    assert (
        genome(recipe=("weight_decay",)).plan(sample, UNITS).weight_decay == sample["weight_decay"]
    )


def test_every_recipe_gene_is_a_value_that_its_key_takes() -> None:
    for name, variable in GENES.items():
        for value in (variable.low, variable.high):
            assert getattr(TrainConfig(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("options", "genes"),
    [
        ({"name": "revo-continuous", "scale": "log"}, 3),
        ({"name": "revo-continuous", "scale": "relative"}, 5),
        ({"name": "revo-continuous", "scale": "relative", "weight_decay": None}, 4),
        ({"name": "revo-mixed"}, 7),
        ({"name": "random", "encoding": "mixed"}, 7),
        ({"name": "random", "encoding": "continuous", "scale": "relative"}, 5),
    ],
)
def test_methods_propose_plans_of_their_genome(options: dict[str, object], genes: int) -> None:
    method = make_method(MethodConfig.model_validate(options))
    space = method.space(UNITS)
    assert len(space) == genes
    proposals = method.searcher(space, SearchOptions(evaluations=8, population=8))
    while (proposal := proposals.ask()) is not None:
        plan = method.plan(proposal.sample, UNITS)
        assert len(plan.unit_lrs) == 3
        assert plan.unit_lrs[-1] > 0
        assert method.genome(proposal.sample) == list(map(float, proposal.sample.values()))


@pytest.mark.parametrize(
    "options",
    [
        {"name": "revo-binary"},
        {"name": "revo-continuous"},
        {"name": "revo-mixed"},
        *({"name": "random", "encoding": each} for each in ("continuous", "binary", "mixed")),
    ],
)
def test_the_weight_decay_of_every_genome_has_the_range_that_is_set(
    options: dict[str, object],
) -> None:
    options |= {"recipe": ["weight_decay"], "weight_decay": [1e-4, 1e-2]}
    decay = make_method(MethodConfig.model_validate(options)).space(UNITS)["weight_decay"]
    assert (decay.low, decay.high) == (1e-4, 1e-2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "revo-mixed", "low": 0, "high": -1}, "it must be below method.high"),
        ({"name": "revo-mixed", "frozen": 1}, "below 1 is wanted"),
        ({"name": "revo-mixed", "weight_decay": [1, 0.1]}, "the lower bound must come first"),
        ({"name": "revo-continuous", "scale": "relative", "spread": 0}, "above 0 and at most 6"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_method(MethodConfig.model_validate(options))
