"""Decay, warm-up, smoothing, mixing, clipping and averages: against torch, timm and torchvision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torchvision.models import mobilenet_v3_small

from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.augment import mix
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.finetune.training.optimizer import make_optimizer, undecayed
from revo_ray.settings.schema import TrainConfig
from tests.finetune.tuners import (
    CLASSES,
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

RATE, DECAY = 0.05, 0.1
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "vit": lambda: timm.create_model("vit_tiny_patch16_224"),  # names its embeddings
    "swin": lambda: timm.create_model("swin_tiny_patch4_window7_224"),
    "byobnet": lambda: timm.create_model("test_byobnet"),
    "mobilenet": mobilenet_v3_small,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_weight_decay_leaves_out_what_timm_leaves_out(name: str) -> None:
    with torch.device("meta"):
        model = NETWORKS[name]()
    named = getattr(model, "no_weight_decay", set)()
    groups = param_groups_weight_decay(model, 0.1, no_weight_decay_list=named)
    without = {id(p) for group in groups if not group["weight_decay"] for p in group["params"]}
    expected = {n for n, p in model.named_parameters() if id(p) in without}
    assert undecayed(model) == expected
    assert 0 < len(expected) < len(list(model.parameters()))


def plain(
    prepare: Callable[[nn.Module], torch.optim.Optimizer],
    after_step: Callable[[nn.Module], object] = lambda model: None,
    before_step: Callable[[nn.Module], object] = lambda model: None,
    **loss: float,
) -> nn.Module:
    """The small network after three epochs of a plain loop, all of it at one rate."""
    model = make_model("small")
    optimizer, criterion = prepare(model), nn.CrossEntropyLoss(**loss)
    images, labels = training_images()
    generator = torch.Generator().manual_seed(3)
    model.train()
    for _ in range(3):
        for batch in torch.randperm(20, generator=generator).split(8):
            optimizer.zero_grad()
            criterion(model(images[batch]), labels[batch]).backward()
            before_step(model)
            optimizer.step()
            after_step(model)
    return model


def training_images() -> tuple[Tensor, Tensor]:
    table, positions = make_table(), make_splits(20).train
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    images = (torch.tensor(np.asarray(table.images))[positions].float() / 255 - mean) / std
    return images, torch.tensor(table.labels)[positions]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    groups = param_groups_weight_decay(model, DECAY)
    return torch.optim.SGD(groups, lr=RATE, momentum=0.9, fused=True)


def adamw(model: nn.Module, beta1: float = 0.9) -> torch.optim.Optimizer:
    groups = param_groups_weight_decay(model, DECAY)
    return torch.optim.AdamW(groups, lr=RATE, betas=(beta1, 0.999), fused=True)


def trained(plan: Plan | None = None, **options: Any) -> dict[str, Tensor]:
    tuner = make_tuner(**{"momentum": 0.9, **options})
    return finish(tuner, plan or Plan((RATE,) * 4, DECAY))[1]


@pytest.mark.parametrize(("name", "prepare"), [("sgd", sgd), ("adamw", adamw)])
def test_decay_of_weights_alone_is_timms(
    name: str, prepare: Callable[[nn.Module], torch.optim.Optimizer]
) -> None:
    state = trained(optimizer=name)
    assert equal(state, plain(prepare).state_dict())
    assert not equal(state, trained(optimizer=name, decay_all=True))


def test_smoothed_labels_are_torchs_and_the_validation_loss_stays_plain() -> None:
    tuner = make_tuner(momentum=0.9, label_smoothing=0.2)
    epochs, state = finish(tuner, Plan((RATE,) * 4, DECAY))
    assert equal(state, plain(sgd, label_smoothing=0.2).state_dict())
    logits, labels = tuner.predict("validation"), tuner.feeds["validation"].labels
    assert epochs[-1].validation == classification_scores(logits, labels)


def test_gradients_are_clipped_by_torch() -> None:
    def clip(model: nn.Module) -> None:
        assert nn.utils.clip_grad_norm_(model.parameters(), 0.5) > 0.5

    state = trained(clip_norm=0.5)
    assert equal(state, plain(sgd, before_step=clip).state_dict())
    assert equal(trained(clip_norm=1e6), trained())


def test_the_norm_that_clips_does_not_depend_on_the_groups() -> None:
    """It is summed in the order of the model; another order rounds it differently."""
    model = make_model("small")
    parameters = dict(model.named_parameters())
    rates = {name: (0.01, 0.1)[i % 2] for i, name in enumerate(parameters)}
    for seed in range(30):
        clipped = []
        for grouping in (rates, dict.fromkeys(rates, 0.1)):
            gradients(model, seed)
            train = TrainConfig(optimizer="sgd", clip_norm=0.5)
            optimizer = make_optimizer(parameters, grouping, DECAY, train, steps=1, done=0)
            assert optimizer is not None
            optimizer.step()
            clipped.append({n: p.grad.clone() for n, p in parameters.items() if p.grad is not None})
        assert equal(*clipped), seed


def gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("statistics", ["running", "precise"])
@pytest.mark.parametrize("validate", ["last", "every"])
def test_the_average_is_torchs_and_all_scores_are_its(statistics: str, validate: str) -> None:
    averages: list[AveragedModel] = []

    def average(model: nn.Module) -> None:
        if not averages:
            averages.append(AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8)))
        averages[0].update_parameters(model)

    plain(sgd, average)
    expected = averages[0].module
    if statistics == "precise":
        update_bn([training_images()[0]], expected)
    tuner = make_tuner(momentum=0.9, ema=0.8, batch_norm=statistics, validate_epochs=validate)
    epochs, state = finish(tuner, Plan((RATE,) * 4, DECAY))
    weights = {name for name, _ in expected.named_parameters()}
    for name, tensor in expected.state_dict().items():
        if name in weights or statistics == "running":
            assert torch.equal(state[name], tensor), name
        elif "num_batches" not in name:
            torch.testing.assert_close(state[name], tensor)
    labels = tuner.feeds["validation"].labels
    assert epochs[-1].validation == classification_scores(tuner.predict("validation"), labels)


def test_a_policy_sees_the_weights_that_train_and_the_average_changes_no_step() -> None:
    seen: dict[float | None, list[dict[str, Tensor]]] = {}
    for ema in (None, 0.8):
        tuner = make_tuner(ema=ema, validate_epochs="every", batch_norm="precise")
        states = seen.setdefault(ema, [])
        list(tuner.run(mixed(4), lambda _, tuner, s=states: s.append(tuner.state_dict())))
    assert all(equal(one, two) for one, two in zip(seen[None], seen[0.8], strict=True))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("warmup", [1, 1.5])
def test_the_schedule_is_torchs_warm_up_and_then_torchs_schedule(
    schedule: str, warmup: float
) -> None:
    steps, epochs = 4, 3
    train = TrainConfig(optimizer="sgd", epochs=epochs, schedule=schedule, warmup_epochs=warmup)
    rises = round(warmup * steps)
    ours = make_optimizer({"a": nn.Parameter(torch.ones(1))}, {"a": 0.1}, 0.0, train, steps, 0)
    assert ours is not None
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    after = (
        ConstantLR(optimizer, 1.0)
        if schedule == "constant"
        else CosineAnnealingLR(optimizer, steps * epochs - rises)
    )
    rise = LinearLR(optimizer, 1 / (rises + 1), total_iters=rises)
    theirs = SequentialLR(optimizer, [rise, after], [rises])
    for _ in range(steps * epochs):
        assert ours.rates == pytest.approx(theirs.get_last_lr())
        ours.step()
        optimizer.step()
        theirs.step()
    assert math.isclose(ours.rates[0], 0.1 if schedule == "constant" else 0, abs_tol=1e-9)


def test_a_warm_up_of_nearly_all_steps_leaves_the_cosine_one() -> None:
    train = TrainConfig(epochs=2, schedule="cosine", warmup_epochs=1.9)
    steps = 3
    ours = make_optimizer({"a": nn.Parameter(torch.ones(1))}, {"a": 0.1}, 0.0, train, steps, 0)
    assert ours is not None
    for _ in range(2 * steps):
        assert 0 < ours.rates[0] <= 0.1
        ours.step()
    assert ours.rates[0] == pytest.approx(0, abs=1e-9)


def a_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(7, 3, 16, 16, generator=generator)
    return images, torch.arange(7) % CLASSES


@pytest.mark.parametrize("alphas", [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_an_image_is_mixed_as_its_label_says(alphas: tuple[float, float]) -> None:
    """mixup blends two images, CutMix takes so many pixels of the other one."""
    images, labels = a_batch()
    before, state = images.clone(), torch.get_rng_state()
    generator, kinds = torch.Generator().manual_seed(0), set()
    for _ in range(40):
        mixed_images, targets = mix(images, labels, CLASSES, *alphas, generator)
        assert targets.shape == (7, CLASSES)
        torch.testing.assert_close(targets.sum(1), torch.ones(7))
        share = targets[0, labels[0]].item()  # its neighbour has another label
        other = images.roll(1, 0)
        blended = torch.allclose(mixed_images, share * images + (1 - share) * other, atol=1e-6)
        own = (mixed_images == images).all(1).float()
        boxed = bool(((mixed_images == images) | (mixed_images == other)).all())
        assert blended or boxed
        if boxed and not blended:
            torch.testing.assert_close(own.mean((1, 2)), torch.full((7,), share))
        kinds |= {"mixup"} if blended and not boxed else {"cutmix"} if boxed else set()
    assert {name for name, alpha in zip(("mixup", "cutmix"), alphas, strict=True) if alpha} == kinds
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_mixing_is_seeded_and_leaves_the_other_streams_alone() -> None:
    options: dict[str, Any] = {"mixup": 0.4, "cutmix": 1.0}
    tuner = make_tuner("dropout", **options)
    epochs, state = finish(tuner, mixed(4))
    torch.rand(5)
    assert equal(finish(make_tuner("dropout", **options), mixed(4))[1], state)
    assert not equal(finish(make_tuner("dropout"), mixed(4))[1], state)
    assert [epoch.images for epoch in epochs] == [20, 40, 60]
    orders: list[list[Tensor]] = [[], []]
    for kept, chosen in zip(orders, ({}, options), strict=True):
        list(make_tuner(**chosen).run(mixed(4), lambda _, t, k=kept: k.append(t.order)))
    assert all(map(torch.equal, *orders))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_recipe_sets_its_keys_for_its_plan_alone(optimizer: str) -> None:
    recipe = {"momentum": 0.5, "label_smoothing": 0.1, "mixup": 0.3}
    keys = {key: value for key, value in recipe.items() if key != "momentum"}
    tuner = make_tuner(optimizer=optimizer)
    plan = Plan((0.0, RATE, RATE, RATE), DECAY)
    _, before = finish(tuner, plan)
    _, state = finish(tuner, Plan(plan.unit_lrs, DECAY, recipe=recipe))
    assert equal(finish(tuner, plan)[1], before)
    if optimizer == "sgd":
        other = make_tuner(optimizer=optimizer, momentum=0.5, **keys)
        assert equal(finish(other, plan)[1], state)
    alone = finish(tuner, Plan((RATE,) * 4, DECAY, recipe={"momentum": 0.5}))[1]
    prepare = {
        "sgd": lambda m: torch.optim.SGD(
            param_groups_weight_decay(m, DECAY), RATE, 0.5, fused=True
        ),
        "adamw": lambda m: adamw(m, 0.5),
    }
    assert equal(alone, plain(prepare[optimizer]).state_dict())


def test_a_recipe_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot set 'epochs'"):
        Plan((0.1,), recipe={"epochs": 3})
    with pytest.raises(ValueError, match="momentum must be finite"):
        Plan((0.1,), recipe={"momentum": math.nan})
    with pytest.raises(ValueError, match="momentum"):
        make_tuner().run(Plan((0.1,) * 4, recipe={"momentum": 1.5}))


def test_a_plan_without_a_recipe_is_written_as_before_and_older_ones_are_read() -> None:
    assert Plan((0.1,)).to_json() == {"unit_lrs": [0.1], "weight_decay": 0.0, "policy": None}
    assert Plan.from_json({"unit_lrs": [0.1]}) == Plan((0.1,))
    plan = Plan((0.1,), 0.2, recipe={"momentum": 0.5})
    assert plan.to_json()["recipe"] == {"momentum": 0.5}
    assert Plan.from_json(plan.to_json()) == plan
