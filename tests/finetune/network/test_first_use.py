"""The order of first use, compared with the order in which autograd takes the parameters."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from revo_ray.finetune.network.first_use import find_first_use
from revo_ray.finetune.network.units import GRANULARITIES, find_units

NETWORKS = {
    "torchvision/shufflenet_v2_x0_5": 32,
    "torchvision/squeezenet1_1": 32,
    "timm/test_byobnet": 64,
    "timm/test_efficientnet": 32,
    "timm/test_mambaout": 64,
    "timm/test_nfnet": 64,
    "timm/test_vit": 160,
    "timm/pit_ti_distilled_224": 224,
}
SLOWER = {"timm/repvgg_a0": 32, "timm/mobileone_s0": 32}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    library, _, model = name.partition("/")
    if library == "timm":
        return timm.create_model(model)
    return torchvision.models.get_model(model)


def order_by_autograd(model: nn.Module, size: int) -> dict[str, int]:
    """For each parameter the number of the first operation on it: autograd counts them up."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    pending = [model.train()(torch.randn(2, 3, size, size)).grad_fn]
    seen: set[Any] = set()
    first: dict[str, int] = {}
    while pending:
        node: Any = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        for before, _ in node.next_functions:
            name = names.get(id(getattr(before, "variable", None)))
            if name is not None:
                first[name] = min(first.get(name, node._sequence_nr()), node._sequence_nr())
            elif before is not None:
                pending.append(before)
    return first


@pytest.mark.parametrize(
    "name", [*NETWORKS, *(pytest.param(name, marks=pytest.mark.nightly) for name in SLOWER)]
)
def test_units_follow_the_first_use_of_their_parameters(name: str) -> None:
    model, size = build(name), (NETWORKS | SLOWER)[name]
    expected, use = order_by_autograd(model, size), find_first_use(model, size)
    assert use.unused == {name for name, _ in model.named_parameters()} - expected.keys()
    used = [expected[parameter] for parameter in use.order if parameter in expected]
    assert used == sorted(used)
    for granularity in GRANULARITIES:
        units = find_units(model, granularity, use=use)
        names = [parameter for unit in units for parameter in unit.parameters]
        assert sorted(names) == sorted(use.order)
        firsts = [min(expected[p] for p in unit.parameters if p in expected) for unit in units]
        assert firsts == sorted(firsts)


def test_registration_in_another_order_does_not_change_the_order() -> None:
    model = build("timm/test_byobnet")
    registered = [name for name, _ in model.named_parameters()]
    assert list(find_first_use(model).order) != registered


class Odd(nn.Module):
    """Draws with functions and with modules, leaves a layer out, and runs another one twice."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.last, self.unused, self.first = (nn.Conv2d(*c, 1) for c in ((4, 4), (4, 4), (3, 4)))
        self.scale = nn.Parameter(torch.ones(()))
        self.drop, self.silent = nn.Dropout(0.5), nn.Dropout(0.0)
        self.before_head = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        assert self.last.weight.dtype == x.dtype  # to look at a parameter is no use of it
        x = self.silent(self.drop(self.first(x))) * self.scale
        x = nn.functional.dropout(self.last(self.last(x)), 0.5, self.training)
        return self.head(self.before_head(x.mean((2, 3))))


def test_draws_and_unused_parameters_are_placed() -> None:
    model = Odd()
    before = [*model.state_dict().values()], torch.get_rng_state(), model.training
    use = find_first_use(model, 8)
    assert list(use.order) == [
        *("first.weight", "first.bias", "scale", "last.weight", "last.bias"),
        *("unused.weight", "unused.bias", "head.weight", "head.bias"),
    ]
    assert use.unused == {"unused.weight", "unused.bias"}
    assert dict(use.draws) == {"drop": 2, "": 7, "before_head": 7}
    units = {unit.name: unit for unit in find_units(model, "layer", "head", use)}
    assert list(units) == ["first", "last", "unused", "head"]
    assert units["first"].modules == ("first", "drop")
    assert units["first"].parameters == ("scale", "first.weight", "first.bias")
    # The classifier's own dropout is the classifier's, and so is one that the network itself calls.
    assert set(units["head"].modules) == {"head", "before_head", ""}
    after = [*model.state_dict().values()], torch.get_rng_state(), model.training
    assert all(map(torch.equal, before[0], after[0]))
    assert torch.equal(before[1], after[1])
    assert before[2] == after[2]


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("efficientnet_b0", {"classifier.0"}),
        ("convnext_tiny", set()),
        ("mobilenet_v3_small", {"classifier.2"}),
        ("swin_t", set()),
        ("vgg11", {"classifier.5"}),
    ],
)
def test_of_what_draws_only_the_classifiers_own_dropout_is_the_heads(
    name: str, own: set[str]
) -> None:
    with torch.device("meta"):
        model = torchvision.models.get_model(name)
    units = find_units(model)
    ran: set[str] = set()
    for path, module in model.named_modules():
        if isinstance(module, nn.Dropout | torchvision.ops.StochasticDepth) and module.p > 0:
            module.register_forward_hook(lambda *_, path=path: ran.add(path))
    model.train()(torch.empty(2, 3, 224, 224, device="meta"))
    holders = {module: unit for unit in units for module in unit.modules}
    assert own <= ran <= holders.keys()
    assert {path for path in ran if holders[path].head} == own
