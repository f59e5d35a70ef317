"""Modes and statistics of BatchNorm layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.norms import update_norms
from tests.finetune.tuners import finish, make_model, make_tuner, mixed


@pytest.mark.parametrize("validate", ["last", "every"])
def test_precise_norms_have_the_statistics_of_all_training_images(validate: str) -> None:
    options = {"train": 33, "momentum": 0.9, "validate_epochs": validate}
    running, precise = (make_tuner(batch_norm=kind, **options) for kind in ("running", "precise"))
    plan = mixed(4)
    _, before = finish(running, plan)
    before_test = running.predict("test")
    epochs, state = finish(precise, plan)
    for name, _ in precise.model.named_parameters():
        assert torch.equal(state[name], before[name])  # the training is the same
    model = make_model("small")
    model.load_state_dict(state)
    seen: dict[nn.Module, Tensor] = {}
    for module in model.eval().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda norm, args: seen.update({norm: args[0]}))
    train = precise.feeds["train"].pixels(torch.arange(33))
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
    assert epochs[-1].validation.loss == precise.evaluate("validation").loss
    running.update_norms()
    assert torch.equal(running.predict("test"), before_test)
    running.update_norms(always=True)
    assert torch.equal(running.predict("test"), precise.predict("test"))
    assert all(not module.training for module in precise.model.modules())


def test_statistics_count_batches_by_their_size() -> None:
    norm = nn.BatchNorm1d(4)
    x = torch.randn(17, 4, generator=torch.Generator().manual_seed(0))
    parts = [torch.arange(0, 9), torch.arange(9, 12), torch.arange(12, 17)]
    norm(x * 5)  # forgotten
    update_norms(norm, (), parts, lambda index: norm(x[index]))
    variances = sum(len(part) * x[part].var(0) for part in parts) / 17
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean, x.mean(0), atol=1e-6)
    assert torch.allclose(norm.running_var, torch.as_tensor(variances), atol=1e-6)
    assert (norm.training, norm.momentum) == (False, 0.1)


def test_dropout_of_a_frozen_unit_is_off_and_that_of_one_that_trains_is_on() -> None:
    tuner = make_tuner("dropout", augment="none", cache_mb=0)
    seen: list[bool] = []
    tuner.model.get_submodule("3").register_forward_hook(lambda m, *_: seen.append(m.training))
    for rates, on in (((0.0, 0.0, 0.0, 0.1), False), ((0.1, 0.0, 0.0, 0.1), True)):
        run = tuner.run(Plan(rates))
        seen.clear()
        next(run)
        assert seen[:3] == [on] * 3  # 20 images, 8 a batch
        run.close()
