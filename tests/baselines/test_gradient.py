"""The methods with one tuned rate: what they train, and how fast."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import timm
import torchvision
from pydantic import ValidationError
from ray.tune.schedulers import ASHAScheduler
from timm.optim import param_groups_layer_decay

from baselines.auto_rgn import AutoRGN
from baselines.gradient import First, Full, Last, Tuned
from baselines.layer_decay import LayerDecay
from revo_ray.evolve.space import Real
from revo_ray.finetune.network.units import find_units
from revo_ray.methods import make_method
from revo_ray.settings.schema import MethodConfig, SearchOptions, TrainConfig

SAMPLE = {"lr": 0.02, "wd": 0.003}
METHODS = [Full, First, Last, LayerDecay, AutoRGN]


def make(method: type[Tuned], **options: Any) -> Tuned:
    return method(method.Options.model_validate(options))


@pytest.mark.parametrize(
    ("method", "granularity", "trained"),
    [
        (First, "layer", {"conv1", "fc"}),
        (First, "block", {"conv1", "fc"}),
        (Last, "layer", {"fc"}),
        (Last, "stage", {"fc"}),
    ],
)
def test_first_and_last_train_their_unit_and_the_head(
    method: type[Tuned], granularity: str, trained: set[str]
) -> None:
    units = find_units(torchvision.models.resnet18(), granularity, "fc")
    plan = make(method).plan(SAMPLE, units)
    rates = {unit.name: rate for unit, rate in zip(units, plan.unit_lrs, strict=True) if rate}
    assert rates == dict.fromkeys(trained, 0.02)
    assert plan.weight_decay == 0.003


def test_full_trains_all_alike() -> None:
    units = find_units(torchvision.models.resnet18())
    plan = make(Full).plan(SAMPLE, units)
    assert (plan.unit_lrs, plan.weight_decay, plan.policy) == ((0.02,) * 21, 0.003, None)


@pytest.mark.parametrize(("name", "steps"), [("resnet18", 9), ("vit_tiny_patch16_224", 13)])
def test_layer_decay_is_timms_at_as_many_steps(name: str, steps: int) -> None:
    model = timm.create_model(name)
    groups = param_groups_layer_decay(model, layer_decay=0.75)
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    head = model.default_cfg["classifier"]
    units = find_units(model, "block", head)
    rates = make(LayerDecay, steps=steps).plan(SAMPLE, units).unit_lrs
    for unit, rate in zip(units, rates, strict=True):
        weight = next(p for p in reversed(unit.parameters) if p.endswith(".weight"))
        assert rate == pytest.approx(0.02 * scales[id(model.get_parameter(weight))]), unit.name


@pytest.mark.parametrize("granularity", ["layer", "block", "stage"])
def test_layer_decay_falls_as_far_at_any_granularity(granularity: str) -> None:
    units = find_units(torchvision.models.resnet50(), granularity, "fc")
    rates = make(LayerDecay).plan(SAMPLE, units).unit_lrs
    assert rates[-1] == 0.02
    assert rates[0] == pytest.approx(0.02 * 0.75**12)
    ratios = [low / high for low, high in pairwise(rates)]
    assert ratios == pytest.approx([0.75 ** (12 / (len(units) - 1))] * (len(units) - 1))


def test_the_decay_can_be_searched() -> None:
    units = find_units(torchvision.models.resnet18())
    method = make(LayerDecay, decay="searched")
    space = method.space(units)
    assert space["decay"] == Real(0.5, 1.0)
    proposal = method.searcher(space, SearchOptions(evaluations=1)).ask()
    assert proposal is not None
    assert set(proposal.sample) == {"lr", "wd", "decay"}
    rates = method.plan({**SAMPLE, "decay": 0.5}, units).unit_lrs
    assert rates[0] == pytest.approx(0.02 * 0.5**12)
    assert "decay" not in make(LayerDecay).space(units)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_searched_by_default(method: type[Tuned], optimizer: str) -> None:
    made = make_method(MethodConfig(name=method.name), train=TrainConfig(optimizer=optimizer))
    assert dict(made.space([])) == {
        "lr": Real(1e-6, 1.0, log=True),
        "wd": Real(1e-6, 0.1, log=True),
    }


@pytest.mark.parametrize("method", METHODS)
def test_what_is_searched_and_who_stops_early(method: type[Tuned]) -> None:
    made = make(method)
    bounded = make(method, lr=[0.001, 0.1], weight_decay=[1e-4, 1e-3])
    proposals = bounded.searcher(bounded.space([]), SearchOptions(evaluations=30))
    samples = [proposals.ask().sample for _ in range(30)]
    assert all(1e-3 <= sample["lr"] <= 0.1 for sample in samples)
    assert all(1e-4 <= sample["wd"] <= 1e-3 for sample in samples)
    assert proposals.ask() is None
    search, train = SearchOptions(), TrainConfig(epochs=4)
    assert isinstance(made.scheduler(search, train), ASHAScheduler)
    assert make(method, halving="none").scheduler(search, train) is None
    assert made.genome(SAMPLE) == [0.02, 0.003]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", [0.1, 0.1]),
        ("lr", [0.1, 0.01]),
        ("lr", [0, 0.1]),
        ("weight_decay", 0.1),
        ("startup", 0),
        ("reduction_factor", 1),
        ("grace_period", 0),
        ("halving", "hyperband"),
        ("decay", 1.5),
        ("steps", 0),
    ],
)
def test_options_that_do_not_fit(key: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        make(LayerDecay, **{key: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {key}
