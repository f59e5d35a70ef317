"""Auto-RGN: rates and weights, against the formula and a training loop written here."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, ResNet

from baselines.auto_rgn import AutoRGN
from baselines.relative_gradient import RelativeGradientNorm, norm_parameters, weight_beside
from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.finetune.network.backbone import Backbone
from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.loop import Epoch
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import SearchOptions, TrainConfig

CLASSES = 4
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
BATCH = 8
SIZES = {20: [8, 8, 4], 41: [8, 8, 8, 8, 9], 42: [8, 8, 8, 8, 5, 5], 60: [*(7 * [8]), 4]}
"""By the number of training images: few; a single one left; two left; many."""
HEAD = "12"
"""Name of the head of `small`."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(dropout: float = 0.0) -> nn.Module:
    """Three convolutions with BatchNorm, one of them with a bias of zeros, and a head.

    Another bias in front of a BatchNorm would have noise for a gradient, which AdamW blows up.
    """
    torch.manual_seed(11)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout)),
        *(nn.Conv2d(8, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)),
    )
    nn.init.zeros_(model.get_parameter("4.bias"))
    return model


def make_table(side: int = 16) -> Table:
    rng = np.random.default_rng(5)
    labels = np.arange(100) % CLASSES
    images = rng.integers(0, 160, (100, 3, side, side)) + 30 * labels[:, None, None, None]
    names = tuple(map(str, range(100)))
    return Table(Path("none"), images.astype(np.uint8), labels, names, None, tuple("abcd"))


def make_splits(train: int) -> Splits:
    order = np.random.default_rng(6).permutation(100)
    return Splits(*map(np.sort, (order[:train], order[60:80], order[80:])))


def make_tuner(model: nn.Module, train: int = 41, side: int = 16, **options: Any) -> FineTuner:
    backbone = Backbone("small", model, "", MEAN, STD, "none", None)
    rule = {"optimizer": "sgd", "batch_norm": "running"}
    config = TrainConfig(**{"epochs": 3, "batch_size": BATCH, "seed": 3, **rule, **options})
    return FineTuner(backbone, find_units(model), make_table(side), make_splits(train), config)


def run(tuner: FineTuner, policy: Any, lr: float = 0.1) -> list[Epoch]:
    return list(tuner.run(Plan((lr,) * len(tuner.units), 0.01), policy))


def recorded(policy: Any, seen: list[dict[str, float]]) -> Any:
    def remember(epoch: int, tuner: FineTuner) -> Mapping[str, float]:
        seen.append(policy(epoch, tuner))
        return seen[-1]

    return remember


def by_the_formula(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]], lr: float, scoring: str, head: str
) -> dict[str, float]:
    """lr·score of each tensor that no norm owns: the mean of ‖g‖/‖θ‖, over the largest.

    In training mode the head has lr, and no score.
    """
    model = copy.deepcopy(model).train(scoring == "train")
    norms = {n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)}
    tensors = {n: p for n, p in model.named_parameters() if n.rpartition(".")[0] not in norms}
    own = [name for name in tensors if name.startswith(f"{head}.") and scoring == "train"]
    for name in own:
        del tensors[name]
    for parameter in model.parameters():
        parameter.requires_grad = True
    ratios: dict[str, list[float]] = {name: [] for name in tensors}
    for images, labels in batches:
        loss = functional.cross_entropy(model(images), labels)
        for name, gradient in zip(
            tensors, torch.autograd.grad(loss, list(tensors.values())), strict=True
        ):
            size = tensors[name].detach().double().square().sum().sqrt().item()
            pull = gradient.double().square().sum().sqrt().item()
            ratios[name].append(pull / size if size else 0.0)
    means = {name: sum(values) / len(values) for name, values in ratios.items()}
    rates = {name: lr * mean / max(means.values()) for name, mean in means.items()}
    return rates | dict.fromkeys(own, lr)


def training_images(train: int, side: int = 16) -> tuple[Tensor, Tensor]:
    """Normalised images and labels of the training split."""
    table, splits = make_table(side), make_splits(train)
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    images = (torch.tensor(table.images[splits.train]).float() / 255 - mean) / std
    return images, torch.tensor(table.labels[splits.train])


def by_hand(
    model: nn.Module, train: int, config: TrainConfig, lr: float, scoring: str
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """The rates of each epoch and the final weights, by a plain torch loop."""
    images, labels = training_images(train)
    generator = torch.Generator().manual_seed(config.seed)
    epochs = []
    for _ in range(config.epochs):
        order = torch.randperm(train, generator=generator)
        batches = [(images[part], labels[part]) for part in order.split(SIZES[train])]
        rates = by_the_formula(model, batches[:5], lr, scoring, HEAD)
        epochs.append(rates)
        for name, parameter in model.named_parameters():
            parameter.requires_grad = rates.get(name, 0) > 0
        groups = [{"params": [model.get_parameter(n)], "lr": r} for n, r in rates.items() if r]
        optimizer = (
            torch.optim.SGD(groups, momentum=config.momentum, weight_decay=0.01)
            if config.optimizer == "sgd"
            else torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
        )
        model.train()
        for batch, targets in batches:
            optimizer.zero_grad()
            functional.cross_entropy(model(batch), targets).backward()
            optimizer.step()
    return epochs, model.state_dict()


@pytest.mark.sample(3)
@pytest.mark.parametrize("train", SIZES)
@pytest.mark.parametrize(
    ("optimizer", "lr", "scoring"),
    [("sgd", 0.1, "train"), ("sgd", 0.1, "eval"), ("adamw", 0.01, "train")],
)
def test_rates_and_weights_are_those_of_the_formula_epoch_by_epoch(
    optimizer: str, lr: float, scoring: Any, train: int
) -> None:
    momentum = 0.9 if optimizer == "sgd" else 0.0
    tuner = make_tuner(small(), train, optimizer=optimizer, momentum=momentum, decay_all=True)
    method = AutoRGN(AutoRGN.Options(scoring=scoring))
    plan = method.plan({"lr": lr, "wd": 0.01}, tuner.units)
    assert plan.policy is not None
    seen: list[dict[str, float]] = []
    list(tuner.run(plan, recorded(AutoRGN.policy(plan.policy), seen)))
    expected, state = by_hand(small(), train, tuner.train, lr, scoring)
    assert len(seen) == 3
    for ours, theirs in zip(seen, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
        # All tensors but the head's two differ, and one of them is 0.
        assert len(set(ours.values())) == (4 if scoring == "train" else 6)
        assert max(ours.values()) == lr
        assert ours["4.bias"] == 0
    for name, tensor in tuner.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=1e-5, atol=1e-6)


def three_networks() -> dict[str, tuple[nn.Module, str]]:
    """Networks with dropout or stochastic depth, each with the name of its head."""
    torch.manual_seed(2)
    resnet = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)
    resnet.avgpool = nn.Sequential(resnet.avgpool, nn.Dropout(0.3))
    random = {"num_classes": CLASSES, "drop_rate": 0.3, "drop_path_rate": 0.3}
    return {
        "resnet": (resnet, "fc"),
        "test_convnext": (timm.create_model("test_convnext", **random), "head.fc"),
        "test_vit": (timm.create_model("test_vit", img_size=32, **random), "head"),
    }


@pytest.mark.sample(1)
@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "test_convnext", "test_vit"])
def test_rates_are_those_of_the_papers_formula_on_whole_networks(name: str) -> None:
    """The same dropout in both, from the same random state, which scoring leaves as it was."""
    model, head = three_networks()[name]
    plain = copy.deepcopy(model)
    policy, seen = RelativeGradientNorm(0.01), []
    images, labels = training_images(41, 32)

    def compare(epoch: int, tuner: FineTuner) -> dict[str, float]:
        before, state = torch.get_rng_state(), copy.deepcopy(tuner.model.state_dict())
        order = tuner.order.clone()
        seen.append(policy(epoch, tuner))
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(tuner.order, order)
        assert all(torch.equal(tensor, state[n]) for n, tensor in tuner.model.state_dict().items())
        plain.load_state_dict(state)
        batches = [(images[index], labels[index]) for index in order.split(BATCH)[:5]]
        batches[-1] = (images[order[32:41]], labels[order[32:41]])  # the last image joins
        with torch.random.fork_rng(devices=[]):
            expected = by_the_formula(plain, batches, 0.01, "train", head)
            assert not torch.equal(torch.get_rng_state(), before)  # dropout drew
        assert seen[-1] == pytest.approx(expected, rel=1e-3, abs=1e-7)
        assert [seen[-1][f"{head}.{own}"] for own in ("weight", "bias")] == [0.01, 0.01]
        return seen[-1]

    run(make_tuner(model, side=32, epochs=2), compare, lr=0.01)
    assert len(seen) == 2
    assert seen[0] != seen[1]


def test_normalisation_layers_learn_as_fast_as_their_weight_where_wanted() -> None:
    seen: list[dict[str, float]] = []
    tuner = make_tuner(small())
    before = tuner.state_dict()
    run(tuner, recorded(RelativeGradientNorm(0.1, norms="with-weight"), seen))
    plain: list[dict[str, float]] = []
    run(make_tuner(small()), recorded(RelativeGradientNorm(0.1), plain))
    for norm, weight in (("1", "0.weight"), ("5", "4.weight"), ("8", "7.weight")):
        for own in ("weight", "bias"):
            assert seen[0].pop(f"{norm}.{own}") == plain[0][weight]
            assert not torch.equal(tuner.state_dict()[f"{norm}.{own}"], before[f"{norm}.{own}"])
    assert seen[0] == plain[0]


def test_scoring_disturbs_nothing_but_the_images_count() -> None:
    options = {"augment": "crop-flip", "momentum": 0.9, "validate_epochs": "every"}
    scored, plain = (make_tuner(small(0.3), 60, **options) for _ in range(2))
    policy = RelativeGradientNorm(0.1)

    def look_only(epoch: int, tuner: FineTuner) -> list[float]:
        modes = [module.training for module in tuner.model.modules()]
        state, images, rng = tuner.state_dict(), tuner.images, torch.get_rng_state()
        policy(epoch, tuner)
        assert [module.training for module in tuner.model.modules()] == modes
        assert all(torch.equal(tensor, state[n]) for n, tensor in tuner.state_dict().items())
        assert torch.equal(torch.get_rng_state(), rng)
        assert tuner.images == images + 5 * BATCH
        return [0.1] * 4

    epochs, others = run(scored, look_only), run(plain, lambda *_: [0.1] * 4)
    assert [epoch.images for epoch in epochs] == [100, 200, 300]
    assert [epoch.images for epoch in others] == [60, 120, 180]
    assert [epoch.train_loss for epoch in epochs] == [epoch.train_loss for epoch in others]
    assert epochs[-1].validation == others[-1].validation


def test_what_an_earlier_epoch_froze_is_scored_again() -> None:
    policy = RelativeGradientNorm(0.1)
    scores: list[dict[str, float]] = []

    def freeze_at_first(epoch: int, tuner: FineTuner) -> dict[str, float]:
        scores.append(policy(epoch, tuner))
        return {} if epoch == 1 else scores[-1]

    tuner = make_tuner(small(), batch_size=60)  # one batch: the order does not matter
    epochs = run(tuner, freeze_at_first)
    assert epochs[0].train_loss is None
    assert epochs[1].train_loss is not None
    assert scores[1] == pytest.approx(scores[0], rel=1e-4)


def test_attention_that_keeps_what_depends_on_weights_is_scored_batch_after_batch() -> None:
    torch.manual_seed(0)
    model = timm.create_model("levit_128s", num_classes=CLASSES, img_size=32)
    seen: list[dict[str, float]] = []
    tuner = make_tuner(model, 16, side=32, epochs=2)
    run(tuner, recorded(RelativeGradientNorm(0.01), seen), lr=0.01)
    biases = [name for name in seen[0] if name.endswith("attention_biases")]
    assert len(seen) == 2
    assert biases


@pytest.mark.parametrize("factor", [math.inf, math.nan])
def test_gradients_that_overflow_diverge(factor: float) -> None:
    tuner = make_tuner(small())
    seen: list[dict[str, float]] = []
    tuner.model.get_parameter("7.weight").register_hook(lambda gradient: gradient * factor)
    *_, last = run(tuner, recorded(RelativeGradientNorm(0.1), seen))
    learns = {name for name, rate in seen[0].items() if rate}
    assert learns == {"7.weight", f"{HEAD}.weight", f"{HEAD}.bias"}
    assert last.diverged


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit", "test_nfnet"]
)
def test_normalisation_layers_are_found_and_stand_beside_a_weight(name: str) -> None:
    model = timm.create_model(name)
    owners = {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm)
    }
    parameters = [n for n, _ in model.named_parameters() if n.rpartition(".")[0] in owners]
    assert norm_parameters(model) == set(parameters)
    beside = weight_beside(model)
    assert sorted(beside) == sorted(parameters)
    for weight in beside.values():
        owner, _, own = weight.rpartition(".")
        assert own == "weight"
        assert isinstance(model.get_submodule(owner), nn.Conv2d | nn.Linear)
    if name == "test_efficientnet":  # each is registered right after its convolution
        names = [n for n, _ in model.named_parameters()]
        for norm in parameters[::2]:
            assert names[names.index(norm) - 1] == beside[norm]


def test_the_plan_carries_its_policy() -> None:
    method = AutoRGN(AutoRGN.Options(batches=3, norms="with-weight"))
    units = find_units(small())
    proposals = method.searcher(method.space(units), SearchOptions(evaluations=1))
    proposal = proposals.ask()
    assert proposal is not None
    plan = Plan.from_json(method.plan(proposal.sample, units).to_json())
    lr, decay = proposal.sample["lr"], proposal.sample["wd"]
    assert (plan.unit_lrs, plan.weight_decay) == ((lr,) * 4, decay)
    assert plan.policy is not None
    assert plan.policy["method"] == "auto-rgn"
    policy = AutoRGN.policy(plan.policy)
    assert isinstance(policy, RelativeGradientNorm)
    assert (policy.lr, policy.batches, policy.norms) == (lr, 3, "with-weight")
    assert policy.scoring == "train"
    earlier = AutoRGN.policy({key: each for key, each in plan.policy.items() if key != "scoring"})
    assert isinstance(earlier, RelativeGradientNorm)
    assert earlier.scoring == "eval"  # all that the plans of earlier versions can mean
    with pytest.raises(ValueError, match="lr"):
        AutoRGN.policy({"batches": 5})
    with pytest.raises(ValueError, match="norm"):
        AutoRGN.policy({"lr": 0.1, "norm": "untrained"})
