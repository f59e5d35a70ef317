"""FineTuner, against plain torch loops written here."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.data.table.images import Images
from revo_ray.finetune.network.backbone import Backbone
from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training import tuner as loop
from revo_ray.finetune.training.depthwise import use_matrices
from revo_ray.finetune.training.epoch import Epoch
from revo_ray.finetune.training.metrics import classification_metrics
from revo_ray.finetune.training.norms import take_statistics
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import TrainConfig

CLASSES = 4
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(dropout: float = 0.0) -> nn.Module:
    """Three convolutions with BatchNorm, and a head: four units."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout)),
        *(nn.Conv2d(8, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)),
    )


def make_model(name: str) -> nn.Module:
    torch.manual_seed(11)
    if name == "small":
        return small()
    if name == "dropout":
        return small(0.3)
    if name == "resnet18":
        return torchvision.models.resnet18(num_classes=CLASSES)
    return timm.create_model(name, pretrained=False, num_classes=CLASSES)


def make_table(n: int = 80, side: int = 16) -> Table:
    rng = np.random.default_rng(5)
    labels = np.arange(n) % CLASSES
    images = rng.integers(0, 160, (n, 3, side, side)) + 30 * labels[:, None, None, None]
    batches = np.split(images.astype(np.uint8), [n // 3, n // 2])
    return Table(Path("none"), Images(batches, side), labels, tuple("abcd"), pa.table({}))


def make_splits(train: int) -> Splits:
    order = np.random.default_rng(6).permutation(80)
    return Splits(*map(np.sort, (order[:train], order[40:60], order[60:])))


def make_tuner(name: str = "small", train: int = 20, side: int = 16, **options: Any) -> FineTuner:
    model = make_model(name)
    backbone = Backbone(name, model, "", MEAN, STD, "none", None)
    rule = {"optimizer": "sgd", "batch_norm": "running"}
    config = TrainConfig(**{"epochs": 3, "batch_size": 8, "seed": 3, **rule, **options})
    return FineTuner(backbone, find_units(model), make_table(side=side), make_splits(train), config)


def finish(tuner: FineTuner, plan: Plan) -> tuple[list[Epoch], dict[str, Tensor]]:
    return list(tuner.run(plan)), tuner.state_dict()


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    assert one.keys() == two.keys()
    return all(torch.equal(one[name], two[name]) for name in one)


def mixed(count: int, weight_decay: float = 0.0) -> Plan:
    """Some units frozen, the others at different rates."""
    return Plan(tuple((0.0, 0.03, 0.01, 0.1)[i % 4] for i in range(count)), weight_decay)


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
    groups, frozen = [], []
    for layer, norm, rate in zip(layers, [*norms, nn.Identity()], rates, strict=True):
        parameters = [*layer.parameters(), *norm.parameters()]
        if rate == 0:
            frozen.append(norm)
            for parameter in parameters:
                parameter.requires_grad = False
        else:
            groups.append({"params": parameters, "lr": rate})
    optimizer = (
        torch.optim.SGD(groups, momentum=config.momentum, weight_decay=weight_decay)
        if config.optimizer == "sgd"
        else torch.optim.AdamW(groups, weight_decay=weight_decay, fused=True)
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
        for norm in frozen:
            norm.eval()
        order = torch.tensor(splits.train)[torch.randperm(33, generator=generator)]
        for batch in order[:8], order[8:16], order[16:24], order[24:]:  # 33 = 8 + 8 + 8 + 9
            if config.schedule == "cosine":
                rate_now = [r for r in rates if r > 0]
                factor = 0.5 * (1 + math.cos(math.pi * step / (4 * config.epochs)))
                for group, rate in zip(optimizer.param_groups, rate_now, strict=True):
                    group["lr"] = rate * factor
            optimizer.zero_grad()
            functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            step += 1
    model.eval()
    with torch.no_grad():
        return model.state_dict(), model(images[splits.validation])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("name", "side", "schedule"),
    [
        ("small", 16, "constant"),
        ("small", 16, "cosine"),
        ("dropout", 16, "constant"),
        ("resnet18", 32, "constant"),
        ("tf_efficientnet_lite0", 32, "constant"),
    ],
)
def test_a_run_is_the_plain_torch_loop_bit_for_bit(
    name: str, side: int, schedule: str, optimizer: str
) -> None:
    momentum = 0.9 if optimizer == "sgd" else 0.0
    tuner = make_tuner(name, 33, side, optimizer=optimizer, momentum=momentum, schedule=schedule)
    plan = mixed(len(tuner.units), weight_decay=0.01)
    epochs, state = finish(tuner, plan)
    expected, logits = reference(name, plan.unit_lrs, 0.01, tuner.train, side)
    assert equal(state, expected)
    assert torch.equal(tuner.predict("validation"), logits)
    assert [epoch.images for epoch in epochs] == [33, 66, 99]
    labels = make_table().labels[make_splits(33).validation]
    scores = classification_metrics(logits, labels)
    assert (epochs[-1].val_loss, epochs[-1].val_auc) == (scores.loss, scores.auc)


def test_frozen_units_keep_weights_and_statistics_and_the_others_move() -> None:
    tuner = make_tuner(momentum=0.9)
    before = tuner.state_dict()
    list(tuner.run(Plan((0.1,) * 4)))
    plan = Plan((0.0, 0.1, 0.0, 0.1), weight_decay=0.1)
    _, after = finish(tuner, plan)
    for unit, rate in zip(tuner.units, plan.unit_lrs, strict=True):
        for module in unit.modules:
            for name in before:
                if name.rpartition(".")[0] == module:
                    assert torch.equal(before[name], after[name]) == (rate == 0), name
        for name in unit.parameters:
            parameter = tuner.model.get_parameter(name)
            assert parameter.requires_grad == (rate > 0)
            assert (parameter.grad is None) == (rate == 0)


@pytest.mark.parametrize("validate", ["last", "every"])
def test_precise_norms_have_the_statistics_of_all_training_images(validate: str) -> None:
    options = {"train": 33, "momentum": 0.9, "validate_epochs": validate}
    running, precise = (make_tuner(batch_norm=kind, **options) for kind in ("running", "precise"))
    plan = mixed(4)
    _, before = finish(running, plan)
    epochs, state = finish(precise, plan)
    for name, _ in precise.model.named_parameters():
        assert torch.equal(state[name], before[name])  # the training is the same
    model = make_model("small")
    model.load_state_dict(state)
    seen: dict[nn.Module, Tensor] = {}
    for module in model.eval().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda norm, args: seen.update({norm: args[0]}))
    train, _ = precise.batch("train", torch.arange(33))
    for unit, rate in zip(precise.units, plan.unit_lrs, strict=True):
        for name in unit.modules:
            norm = model.get_submodule(name)
            if not isinstance(norm, nn.BatchNorm2d):
                continue
            assert norm.running_mean is not None
            assert norm.running_var is not None
            if rate > 0:
                norm.train()  # those above it see what it gives with the batch's own statistics
            with torch.no_grad():
                model(precise.normalise(train))
            var, mean = torch.var_mean(seen[norm], dim=(0, 2, 3))
            untouched = torch.equal(state[f"{name}.running_mean"], before[f"{name}.running_mean"])
            assert untouched == (rate == 0)
            if rate > 0:
                assert torch.allclose(state[f"{name}.running_mean"], mean, atol=1e-6)
                assert torch.allclose(state[f"{name}.running_var"], var, rtol=1e-5)
    assert epochs[-1].val_loss == precise.evaluate("validation").loss
    assert all(not module.training for module in precise.model.modules())


def test_statistics_count_batches_by_their_size() -> None:
    norm = nn.BatchNorm1d(4)
    x = torch.randn(17, 4, generator=torch.Generator().manual_seed(0))
    parts = [torch.arange(0, 9), torch.arange(9, 12), torch.arange(12, 17)]
    norm(x * 5)  # forgotten
    norm.eval()
    take_statistics([norm], parts, lambda index: norm(x[index]))
    variances = sum(len(part) * x[part].var(0) for part in parts) / 17
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean, x.mean(0), atol=1e-6)
    assert torch.allclose(norm.running_var, torch.as_tensor(variances), atol=1e-6)
    assert (norm.training, norm.momentum) == (False, 0.1)


def test_dropout_inside_a_frozen_part_stays_on() -> None:
    tuner = make_tuner("dropout", augment="none")
    run = tuner.run(Plan((0.0, 0.0, 0.0, 0.1)))
    seen = []
    dropout = tuner.model.get_submodule("3")
    dropout.register_forward_hook(lambda module, *_: seen.append(module.training))
    next(run)
    assert seen[-3:] == [True, True, True]  # 20 images, 8 a batch
    assert all(seen)


@pytest.mark.parametrize("augment", ["none", "flip", "crop-flip", "trivial"])
def test_a_run_depends_on_its_plan_alone(augment: str) -> None:
    tuner = make_tuner("dropout", augment=augment)
    plan = mixed(4)
    first = finish(tuner, plan)
    other = finish(tuner, Plan((0.1, 0.0, 0.1, 0.1), 0.1))
    torch.manual_seed(99)
    run = tuner.run(plan)
    epochs = []
    for epoch in run:
        torch.rand(7)  # what a caller draws between epochs
        epochs.append(epoch)
    assert equal(first[1], tuner.state_dict())
    assert not equal(first[1], other[1])
    assert [e.train_loss for e in epochs] == [e.train_loss for e in first[0]]
    assert epochs[-1].val_loss == first[0][-1].val_loss
    state = torch.get_rng_state()
    list(tuner.run(plan))
    assert torch.equal(torch.get_rng_state(), state)
    assert tuner.evaluate("validation").loss == epochs[-1].val_loss


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_where_the_images_are_kept_changes_no_bit(
    augment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed = make_tuner("dropout", augment=augment)
    monkeypatch.setattr(loop, "fits", lambda *_: True)
    resident = make_tuner("dropout", augment=augment)
    monkeypatch.setattr(Images, "__getitem__", lambda *_: pytest.fail("read again"))
    epochs, state = finish(resident, mixed(4))
    monkeypatch.undo()
    expected, weights = finish(streamed, mixed(4))
    assert equal(state, weights)
    assert [epoch.train_loss for epoch in epochs] == [epoch.train_loss for epoch in expected]
    assert epochs[-1].val_loss == expected[-1].val_loss
    assert torch.equal(resident.predict("test"), streamed.predict("test"))


def test_an_abandoned_run_leaves_nothing_behind() -> None:
    tuner = make_tuner("dropout")
    _, expected = finish(tuner, mixed(4))
    next(tuner.run(Plan((0.5,) * 4)))
    assert equal(finish(tuner, mixed(4))[1], expected)


def digest() -> str:
    tuner = make_tuner("dropout", augment="crop-flip", momentum=0.9)
    list(tuner.run(mixed(4, 0.01)))
    tensors = tuner.state_dict().values()
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest()


def test_another_process_gives_the_same_bits() -> None:
    code = "import torch; torch.set_num_threads(1); from tests.finetune import test_loop as t; "
    root = Path(__file__).parents[3]
    other = subprocess.run(
        [sys.executable, "-c", code + "print(t.digest())"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == digest()


def test_a_huge_rate_diverges_at_once_and_the_next_run_is_unaffected() -> None:
    tuner = make_tuner("tf_efficientnet_lite0", side=32, epochs=20)
    count = len(tuner.units)
    # Without decay BatchNorm can keep the loss of such weights finite.
    epochs, _ = finish(tuner, Plan((1e6,) * count, weight_decay=0.1))
    assert [epoch.diverged for epoch in epochs] == [False] * (len(epochs) - 1) + [True]
    last = epochs[-1]
    assert last.images < 20 * 20
    assert (last.train_loss, last.val_loss, last.val_accuracy, last.val_auc) == (None,) * 4
    tuner.train = tuner.train.model_copy(update={"epochs": 2})
    again = make_tuner("tf_efficientnet_lite0", side=32, epochs=2)
    assert equal(finish(tuner, mixed(count))[1], finish(again, mixed(count))[1])


@pytest.mark.parametrize("validate", ["last", "every"])
def test_a_validation_loss_that_is_not_finite_is_divergence_at_the_end(validate: str) -> None:
    tuner = make_tuner(validate_epochs=validate)
    # Eval mode alone overflows: the running variance is what training never reads.
    tuner.model.get_submodule("1").momentum = 0.0  # type: ignore[assignment]
    tuner._pretrained["1.running_var"].fill_(float("nan"))
    epochs, _ = finish(tuner, Plan((0.01,) * 4))
    assert [epoch.diverged for epoch in epochs] == [False, False, True]
    assert all(epoch.val_loss is None for epoch in epochs)


def test_all_frozen_is_the_pretrained_model() -> None:
    tuner = make_tuner(validate_epochs="every")
    before, scores = tuner.state_dict(), tuner.evaluate("validation")
    list(tuner.run(mixed(4)))
    epochs, after = finish(tuner, Plan((0.0,) * 4, weight_decay=0.1))
    assert equal(before, after)
    assert len(epochs) == 3
    for epoch in epochs:
        assert epoch.val_loss == scores.loss
        assert (epoch.val_accuracy, epoch.val_auc) == (scores.accuracy, scores.auc)
        assert (epoch.train_loss, epoch.images, epoch.diverged) == (None, 0, False)


@pytest.mark.parametrize("norms", ["running", "precise"])
def test_validating_each_epoch_does_not_change_the_training(norms: str) -> None:
    last, every = (
        make_tuner("dropout", validate_epochs=v, batch_norm=norms) for v in ("last", "every")
    )
    (some, one), (more, two) = finish(last, mixed(4)), finish(every, mixed(4))
    assert [epoch.val_loss is None for epoch in some] == [True, True, False]
    assert all(epoch.val_loss is not None for epoch in more)
    assert [epoch.epoch for epoch in more] == [1, 2, 3]
    assert equal(one, two)
    assert some[-1].val_loss == more[-1].val_loss


@pytest.mark.parametrize(("images", "sizes"), [(17, [8, 9]), (18, [8, 8, 2]), (9, [9]), (3, [3])])
def test_no_batch_of_one_image(images: int, sizes: list[int]) -> None:
    tuner = make_tuner(train=images, epochs=1)
    seen: list[int] = []
    tuner.model.register_forward_hook(
        lambda module, inputs, _: seen.append(len(inputs[0])) if module.training else None
    )
    (epoch,) = tuner.run(Plan((0.01,) * 4))
    assert seen == sizes
    assert epoch.images == images


def test_predictions_do_not_depend_on_the_split_being_resident() -> None:
    tuner = make_tuner()
    table, splits = make_table(), make_splits(20)
    tuner.model.eval()
    for name in ("train", "validation", "test"):
        images = torch.tensor(table.images[getattr(splits, name)]).float() / 255
        mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
        with torch.no_grad():
            expected = tuner.model((images - mean) / std)
        assert torch.equal(tuner.predict(name), expected)  # type: ignore[arg-type]


def test_state_goes_out_and_in() -> None:
    tuner = make_tuner()
    _, state = finish(tuner, mixed(4))
    loss = tuner.evaluate("test").loss
    kept = {name: tensor.clone() for name, tensor in state.items()}
    list(tuner.run(Plan((0.1,) * 4)))
    assert equal(state, kept)  # a copy, not a view of the weights
    assert tuner.evaluate("test").loss != loss
    tuner.load_state_dict(state)
    assert tuner.evaluate("test").loss == loss
    assert all(t.device.type == "cpu" and t.is_contiguous() for t in state.values())
    assert equal(finish(tuner, mixed(4))[1], state)  # runs still start pretrained


def test_bf16_trains_close_to_fp32() -> None:
    losses = [
        finish(make_tuner(precision=precision), Plan((0.01,) * 4))[0][-1].val_loss
        for precision in ("fp32", "bf16")
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_policy_changes_rates_from_its_epoch_on() -> None:
    tuner = make_tuner()
    seen: list[dict[str, Tensor]] = []

    def freeze_all_in_the_second(epoch: int, tuner: FineTuner) -> list[float] | None:
        seen.append(tuner.state_dict())
        return [0.0] * 4 if epoch == 2 else None

    epochs = list(tuner.run(mixed(4), freeze_all_in_the_second))
    assert equal(seen[1], tuner.state_dict())
    assert not equal(seen[0], seen[1])
    assert [epoch.images for epoch in epochs] == [20, 20, 20]
    plain = finish(tuner, mixed(4))[1]
    list(tuner.run(mixed(4), lambda epoch, tuner: None))
    assert equal(tuner.state_dict(), plain)


def test_a_policy_gives_rates_to_single_parameters() -> None:
    tuner = make_tuner()
    before = tuner.state_dict()
    list(tuner.run(Plan((0.1,) * 4), lambda epoch, tuner: {"4.weight": 0.1}))
    changed = {n for n, t in tuner.state_dict().items() if not torch.equal(t, before[n])}
    assert {n for n in changed if "running" not in n and "num_" not in n} == {"4.weight"}
    with pytest.raises(ValueError, match=r"'5\.wait'"):
        list(tuner.run(Plan((0.1,) * 4), lambda epoch, tuner: {"5.wait": 0.1}))


def test_a_plan_that_names_a_policy_needs_it() -> None:
    tuner = make_tuner()
    plan = Plan((0.1,) * 4, policy={"method": "auto"})
    with pytest.raises(ValueError, match="needs the policy"):
        tuner.run(plan)
    before = tuner.state_dict()
    list(tuner.run(plan, lambda epoch, tuner: [0.0] * 4))
    assert equal(tuner.state_dict(), before)


def test_units_and_plan_must_fit_the_model() -> None:
    tuner = make_tuner()
    with pytest.raises(ValueError, match="3 units, the model 4"):
        tuner.run(Plan((0.1,) * 3))
    backbone = Backbone("small", small(), "", MEAN, STD, "none", None)
    units = find_units(backbone.model)
    for wrong in (units[1:], [*units, units[0]]):
        with pytest.raises(ValueError, match="each parameter"):
            FineTuner(backbone, wrong, make_table(), make_splits(20), TrainConfig())


def test_seconds_leave_out_what_the_caller_spends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    seconds = []
    for epoch in make_tuner().run(Plan((0.1,) * 4), lambda *_: clock.__setitem__(0, clock[0] + 2)):
        seconds.append(epoch.seconds)
        clock[0] += 100
    assert seconds == [2, 4, 6]
