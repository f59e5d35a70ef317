"""The checks of every family notice what is wrong, and a family that fails costs no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.models import families
from benchmarks.one_model import as_if_trained, balance_problems, first_uses, train, unit_problems
from revo_ray.finetune.network.backbone import Backbone, load_backbone
from revo_ray.finetune.network.units import Unit, find_units

SIDE = 32


@pytest.fixture
def backbone() -> Backbone:
    found = load_backbone("timm/test_byobnet", "none", 10, image_size=SIDE)
    torch.manual_seed(0)
    as_if_trained(found.model)
    return found


def trained(backbone: Backbone, units: list[Unit]) -> list[str]:
    problems: list[str] = []
    train(backbone, units, SIDE, 0, problems)
    return problems


def test_wrong_units_are_noticed(backbone: Backbone) -> None:
    model, units = backbone.model, find_units(backbone.model, "layer", backbone.head)
    uses = first_uses(model, torch.randn(2, 3, SIDE, SIDE))
    assert uses.keys() == dict(model.named_parameters()).keys()
    assert [*unit_problems(model, units, uses, "layer")] == []
    swapped = [units[1], units[0], *units[2:]]
    assert [*unit_problems(model, swapped, uses, "layer")] == [
        f"layer: {units[0].name} is used before {units[1].name}"
    ]
    for wrong, times in ((units[1:], 0), ([units[0], *units], 2)):
        (said,) = unit_problems(model, wrong, uses, "layer")
        assert said.endswith(f"stands in {times} units")
    assert [*balance_problems(model, units, "layer")] == []
    body = tuple(name for unit in units[:-1] for name in unit.parameters)
    lump = [replace(units[0], parameters=body), units[-1]]
    assert [*balance_problems(model, lump, "stage")] == [
        f"stage: {units[0].name} holds 100% without a warning"
    ]


def test_wrong_training_is_noticed(backbone: Backbone) -> None:
    units = find_units(backbone.model, "layer", backbone.head)
    assert trained(backbone, units) == []
    bare = [replace(unit, modules=()) for unit in units]
    assert any("running_mean moves while it is frozen" in line for line in trained(backbone, bare))


def test_a_weight_without_a_gradient_is_noticed(backbone: Backbone) -> None:
    """A scale of 0 at the end of a residual branch stops the gradient."""
    units = find_units(backbone.model, "layer", backbone.head)
    backbone.model.get_parameter("stages.0.0.conv2_1x1.bn.weight").data.zero_()
    assert any("does not move when it trains" in line for line in trained(backbone, units))


def test_every_network_of_the_libraries_is_in_a_family() -> None:
    import timm
    import torchvision

    found = families()
    names = [name for members in found.values() for name in members]
    own = torchvision.models.list_models(torchvision.models)
    assert sorted(names) == sorted([*timm.list_models(include_tags=False), *own])
    assert {f"timm/{module}" for module in timm.list_modules()} >= {
        family for family in found if family.startswith("timm/")
    }


def test_a_family_that_hangs_costs_no_other(printed: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "models.json"
    words = ("--families", "torchvision/squeezenet", "timm/inception_v3", "--limit", "0")
    with pytest.raises(SystemExit):
        printed("models", *words, "--out", str(out))
    networks = json.loads(out.read_text())["line"]["networks"]
    assert [finding["problems"] for finding in networks] == [["not done after 0 s"]] * 2
