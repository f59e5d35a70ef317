"""The estimate of GPU memory, against what torch allocates on a CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from revo_ray.finetune.training.gpu_memory import GpuMemory, estimate_gpu_memory, nbytes
from revo_ray.settings.schema import TrainConfig
from tests.finetune.tuners import CLASSES, make_model

NETWORKS = ("small", "resnet10", "timm/test_efficientnet", "timm/test_vit")
SIZES = {"timm/test_vit": 160}


def estimate(model: nn.Module, size: int = 64, room: int = 16, **train: Any) -> GpuMemory:
    return estimate_gpu_memory(model, TrainConfig(**train), (3, size, size), room, 0)


def peak(model: nn.Module, size: int, batch: int) -> int:
    """Most bytes that the second step of AdamW holds, beside the weights."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    images, labels = torch.zeros(batch, 3, size, size), torch.zeros(batch, dtype=torch.long)

    def step() -> None:
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    now = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most + sum(nbytes(s.values()) for s in optimizer.state.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_needs_about_as_much(name: str) -> None:
    model, size, batch = make_model(name.removeprefix("timm/")), SIZES.get(name, 64), 16
    found = estimate(model, size, batch_size=batch)
    # Twice the weights and buffers: the model itself, and its pretrained copy.
    model_twice = 2 * (nbytes(model.parameters()) + nbytes(model.buffers()))
    measured = peak(model, size, batch)
    assert 0.9 < (found.weights - model_twice + found.activations) / measured < 1.6


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_grow_with_the_batch_and_weights_do_not(name: str) -> None:
    model, size = make_model(name.removeprefix("timm/")), SIZES.get(name, 64)
    one, two, four = (estimate(model, size, batch_size=n, room=0) for n in (16, 32, 64))
    assert one.weights == two.weights
    assert one.activations < two.activations
    more = two.activations - one.activations
    assert four.activations - two.activations == pytest.approx(2 * more, abs=8)


def test_the_settings_that_matter() -> None:
    model = make_model("resnet10")
    usual = estimate(model)
    parameters = nbytes(model.parameters())
    assert estimate(model, 128).activations > 3 * usual.activations
    assert estimate(model, precision="bf16").activations < usual.activations
    assert usual.weights - estimate(model, optimizer="sgd").weights == 2 * parameters
    with_momentum = estimate(model, optimizer="sgd", momentum=0.9)
    assert usual.weights - with_momentum.weights == parameters
    assert estimate(model, ema=0.9).weights - usual.weights == 2 * parameters
    assert usual.total - estimate(model, cache_mb=0).total == usual.features == 64 * 2**20
    wide = estimate(model, batch_size=2, room=256)
    assert wide.activations > estimate(model, batch_size=2, room=2).activations


def test_the_model_and_the_random_numbers_stay_as_they_are() -> None:
    model = make_model("dropout").eval()
    model[0].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    estimate(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    assert not model.training
    assert not model[0].weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model(torch.zeros(1, 3, 16, 16)).shape == (1, CLASSES)
