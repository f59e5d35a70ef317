"""A rate for each parameter: the bits of torch's optimizers with a group for each rate."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import nn

from revo_ray.finetune.training.layerwise import LayerwiseOptimizer

Kind = Literal["sgd", "adamw"]
SHAPES = [(8, 3, 3, 3), (8,), (17,), (), (5, 40), (1, 1), (64, 33)]
RATES = [0.1, 0.01, 0.1, 0.003, 0.5, 0.01, 0.02]
DECAYS = [0.1, 0.0, 0.0, 0.0, 0.1, 0.1, 0.1]


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def set_gradients(own: list[nn.Parameter], step: int, missing: int | None = None) -> None:
    generator = torch.Generator().manual_seed(step)
    for number, parameter in enumerate(own):
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = None if number == missing else gradient


def factor(step: int) -> float:
    return 1 / (1 + step)


def torchs(kind: Kind, own: list[nn.Parameter], momentum: float) -> torch.optim.Optimizer:
    groups = [
        {"params": [parameter], "lr": rate, "weight_decay": decay}
        for parameter, rate, decay in zip(own, RATES, DECAYS, strict=True)
    ]
    if kind == "sgd":
        return torch.optim.SGD(groups, momentum=momentum, fused=True)
    return torch.optim.AdamW(groups, betas=(momentum, 0.999), fused=True)


@pytest.mark.parametrize("missing", [None, "first", "all but first"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_every_bit_is_that_of_a_group_for_each_rate(
    kind: Kind, momentum: float, missing: str | None
) -> None:
    ours, theirs = parameters(), parameters()
    mine = LayerwiseOptimizer(ours, RATES, DECAYS, kind=kind, factor=factor, momentum=momentum)
    other = torchs(kind, theirs, momentum)
    schedule = torch.optim.lr_scheduler.LambdaLR(other, factor)
    for step in range(5):
        lacks = {None: None, "first": 2 if step == 0 else None}.get(missing, 2 if step else None)
        for own in (ours, theirs):
            set_gradients(own, step, lacks)
        assert mine.rates == schedule.get_last_lr()
        mine.step()
        other.step()
        schedule.step()
        assert all(map(torch.equal, ours, theirs)), step


@pytest.mark.parametrize("missing", [None, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_kernels_for_a_gpu_compute_the_same(
    kind: Kind, momentum: float, missing: int | None
) -> None:
    found = []
    for foreach in (False, True):
        own = parameters()
        options: Any = {"kind": kind, "factor": factor, "momentum": momentum, "foreach": foreach}
        optimizer = LayerwiseOptimizer(own, RATES, DECAYS, clip_norm=0.5, **options)
        for step in range(6):
            set_gradients(own, step, missing if step % 2 else None)
            optimizer.step()
        found.append(own)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_parameters_without_a_gradient_stay_as_they_are(kind: Kind, foreach: bool) -> None:
    own, before = parameters(), parameters()
    options: Any = {"kind": kind, "factor": factor, "momentum": 0.9, "foreach": foreach}
    optimizer = LayerwiseOptimizer(own, RATES, DECAYS, **options)
    optimizer.step()
    set_gradients(own, 0, missing=4)
    optimizer.step()
    assert [torch.equal(*pair) for pair in zip(own, before, strict=True)].index(True) == 4
    optimizer.zero_grad()
    assert not any(parameter.grad is not None for parameter in own)
