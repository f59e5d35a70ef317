"""The training loop, against a plain torch loop written here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.depthwise import use_matrices
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.objective import LOSS_LIMIT, Scores
from revo_ray.settings.schema import TrainConfig
from tests.finetune.tuners import (
    MEAN,
    STD,
    equal,
    finish,
    make_model,
    make_splits,
    make_table,
    make_tuner,
    mixed,
)


def reference(
    name: str, rates: Sequence[float], weight_decay: float, config: TrainConfig, side: int
) -> tuple[dict[str, Tensor], Tensor]:
    """A plain torch loop; layers in the order of registration, a norm after its convolution.

    Small images pass depthwise convolutions as in a tuner (`test_depthwise.py`).
    """
    model = make_model(name)
    use_matrices(model)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(layers) == len(norms) + 1 == len(rates)
    groups: list[Any] = []
    frozen: list[nn.Module] = []
    at = {layer: index for index, layer in enumerate(layers)}
    index = 0
    for module in model.modules():
        index = at.get(module, index)
        if isinstance(module, nn.Dropout) and rates[index] == 0:
            frozen.append(module)
    for layer, norm, rate in zip(layers, [*norms, nn.Identity()], rates, strict=True):
        parameters = [*layer.parameters(), *norm.parameters()]
        if rate == 0:
            frozen.append(norm)
            for parameter in parameters:
                parameter.requires_grad = False
        else:
            for parameter in parameters:
                vector = parameter.ndim == 1 and not config.decay_all
                decay = 0.0 if vector else weight_decay
                groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    bases = [group["lr"] for group in groups]
    optimizer = (
        torch.optim.SGD(groups, momentum=config.momentum, fused=True)
        if config.optimizer == "sgd"
        else torch.optim.AdamW(groups, fused=True)
    )
    table, splits = make_table(side=side), make_splits(33)
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    images = (torch.tensor(np.asarray(table.images)).float() / 255 - mean) / std
    labels = torch.tensor(table.labels)
    generator = torch.Generator().manual_seed(config.seed)
    torch.manual_seed(config.seed)
    step = 0
    for _ in range(config.epochs):
        model.train()
        for module in frozen:
            module.eval()
        order = torch.tensor(splits.train)[torch.randperm(33, generator=generator)]
        for batch in order[:8], order[8:16], order[16:24], order[24:]:  # 33 = 8 + 8 + 8 + 9
            if config.schedule == "cosine":
                factor = 0.5 * (1 + math.cos(math.pi * step / (4 * config.epochs)))
                for group, rate in zip(optimizer.param_groups, bases, strict=True):
                    group["lr"] = rate * factor
            optimizer.zero_grad()
            functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            step += 1
    model.eval()
    with torch.no_grad():
        return model.state_dict(), model(images[splits.validation])


@pytest.mark.sample(5)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("name", "side", "schedule", "decay_all"),
    [
        ("small", 16, "constant", False),
        ("small", 16, "cosine", True),
        ("dropout", 16, "constant", True),
        ("resnet10", 16, "constant", False),
        ("depthwise", 16, "constant", False),
        pytest.param("tf_efficientnet_lite0", 32, "constant", False, marks=pytest.mark.slow),
    ],
)
def test_a_run_is_the_plain_torch_loop_bit_for_bit(
    name: str, side: int, schedule: str, decay_all: bool, optimizer: str
) -> None:
    rule = {"momentum": 0.9 if optimizer == "sgd" else 0.0, "decay_all": decay_all}
    tuner = make_tuner(name, 33, side, optimizer=optimizer, schedule=schedule, **rule)
    plan = mixed(len(tuner.units), weight_decay=0.01)
    epochs, state = finish(tuner, plan)
    expected, logits = reference(name, plan.unit_lrs, 0.01, tuner.train, side)
    assert equal(state, expected)
    assert torch.equal(tuner.predict("validation"), logits)
    assert [epoch.images for epoch in epochs] == [33, 66, 99]
    labels = make_table().labels[make_splits(33).validation]
    scores = classification_scores(logits, labels)
    assert epochs[-1].validation == scores


@pytest.mark.parametrize(("images", "sizes"), [(17, [8, 9]), (18, [8, 5, 5]), (9, [9]), (3, [3])])
def test_no_batch_of_less_than_half_its_images(images: int, sizes: list[int]) -> None:
    tuner = make_tuner(train=images, epochs=1)
    seen: list[int] = []
    tuner.model.register_forward_hook(
        lambda module, inputs, _: seen.append(len(inputs[0])) if module.training else None
    )
    (epoch,) = tuner.run(Plan((0.01,) * 4))
    assert seen == sizes
    assert epoch.images == images


def test_a_huge_rate_diverges_at_once_and_the_next_run_is_unaffected() -> None:
    tuner = make_tuner("test_resnet", side=32, epochs=20)
    count = len(tuner.units)
    # Without decay BatchNorm can keep the loss of such weights finite.
    epochs, _ = finish(tuner, Plan((1e6,) * count, weight_decay=0.1))
    assert [epoch.diverged for epoch in epochs] == [False] * (len(epochs) - 1) + [True]
    last = epochs[-1]
    assert last.images < 20 * 20
    assert (last.train_loss, last.validation) == (None, Scores())
    tuner.train = tuner.train.model_copy(update={"epochs": 2})
    again = make_tuner("test_resnet", side=32, epochs=2)
    assert equal(finish(tuner, mixed(count))[1], finish(again, mixed(count))[1])


@pytest.mark.parametrize("validate", ["last", "every"])
def test_a_validation_loss_that_is_not_finite_is_divergence_at_the_end(validate: str) -> None:
    tuner = make_tuner(validate_epochs=validate)
    # Eval mode alone overflows: the running variance is what training never reads.
    tuner.model.get_submodule("1").momentum = 0.0  # type: ignore[assignment]
    tuner._pretrained._copies["1.running_var"].fill_(float("nan"))
    epochs, _ = finish(tuner, Plan((0.01,) * 4))
    assert [epoch.diverged for epoch in epochs] == [False, False, True]
    assert all(epoch.validation.loss is None for epoch in epochs)


@pytest.mark.parametrize("shift", [1e2, 1e9, 1e30])
@pytest.mark.parametrize("validate", ["last", "every"])
def test_a_validation_loss_beyond_the_limit_is_divergence_at_the_end(
    validate: str, shift: float
) -> None:
    """A loss that is finite, but absurd, is no value for a search."""
    tuner = make_tuner(validate_epochs=validate)
    tuner.model.get_submodule("1").momentum = 0.0  # type: ignore[assignment]
    tuner._pretrained._copies["1.running_mean"].fill_(-shift)
    epochs, _ = finish(tuner, Plan((0.01,) * 4))
    loss = tuner.evaluate("validation").loss
    assert loss is not None
    assert math.isfinite(loss)
    absurd = loss > LOSS_LIMIT
    assert absurd == (shift > 1e2)
    assert [epoch.diverged for epoch in epochs] == [False, False, absurd]
    assert epochs[-1].validation.loss == (None if absurd else loss)
    assert (epochs[0].validation.loss is None) == (absurd or validate == "last")


@pytest.mark.parametrize("scale", [1e2, 1e9, 1e30])
def test_a_training_loss_beyond_the_limit_is_divergence_at_once(scale: float) -> None:
    tuner = make_tuner()
    tuner._pretrained._copies["12.weight"].mul_(scale)
    tuner._pretrained.will_train(["12.weight"])
    epochs, state = finish(tuner, Plan((0.0, 0.0, 0.0, 1e-9)))
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert [epoch.diverged for epoch in epochs] == ([True] if scale > 1e2 else [False] * 3)
    assert (epochs[-1].train_loss is None) == (epochs[-1].validation == Scores()) == (scale > 1e2)
