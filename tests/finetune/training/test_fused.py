"""FusedTuner against the same plans run one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from revo_ray.finetune.fused import FusedTuner
from revo_ray.finetune.pace import images_per_second
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.tuner import FineTuner
from tests.finetune.training.test_tuner import finish, make_tuner, one_thread  # noqa: F401


def plans(count: int, rate: float = 0.004) -> list[Plan]:
    """Trained whole; a frozen prefix; one that diverges; frozen here and there; all frozen."""
    half = count // 2
    return [
        Plan(tuple(rate / (1 + i % 3) for i in range(count)), 0.01),
        Plan((0.0,) * half + (rate,) * (count - half)),
        Plan((1e20,) * count),
        Plan((*((rate, 0.0)[i % 2] for i in range(count - 1)), rate), 0.1),
        Plan((0.0,) * count),
    ]


SGD = {"momentum": 0.9, "augment": "flip", "validate_epochs": "every"}
ADAMW = {"optimizer": "adamw", "schedule": "cosine"}
NETWORK = {"side": 32, "batch_size": 10}


@pytest.mark.parametrize(
    ("name", "options", "rate", "double"),
    [
        ("small", SGD, 0.004, False),
        ("test_efficientnet", NETWORK, 0.004, False),
        # AdamW makes whole steps of gradients that are nothing but rounding: small rates in fp32.
        ("test_efficientnet", {**NETWORK, **ADAMW}, 0.00005, False),
        ("test_efficientnet", {**NETWORK, **ADAMW}, 0.004, True),
        ("dropout", ADAMW, 0.004, True),
        ("test_efficientnet", {**NETWORK, "batch_norm": "precise"}, 0.004, False),
        ("dropout", {**ADAMW, "batch_norm": "precise"}, 0.004, True),
    ],
)
def test_members_are_what_they_would_be_alone(
    name: str, options: dict[str, Any], rate: float, double: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = make_tuner(name, **options)
    tolerance = 1e-4
    if double:
        in_double_precision(tuner, monkeypatch)
        tolerance = 1e-7
    members = plans(len(tuner.units), rate)
    fused = FusedTuner(tuner)
    together = [list(epochs) for epochs in zip(*fused.run(members), strict=True)]
    states = [fused.state_dict(member) for member in range(len(members))]
    for plan, epochs, state in zip(members, together, states, strict=True):
        alone, expected = finish(tuner, plan)
        assert len(epochs) == tuner.train.epochs
        for one, other in zip(epochs, alone, strict=False):
            for what in ("epoch", "diverged", "images"):
                assert getattr(one, what) == getattr(other, what)
            for what in ("train_loss", "val_loss", "val_auc"):
                wanted = pytest.approx(getattr(other, what), abs=tolerance)
                assert getattr(one, what) == wanted, what
        if not alone[-1].diverged and (double or tuner.train.optimizer == "sgd"):
            for key, tensor in expected.items():
                assert torch.allclose(state[key], tensor, atol=tolerance, rtol=tolerance), key
        if not any(plan.unit_lrs):
            assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert [epochs[-1].diverged for epochs in together] == [False, False, True, False, False]


def in_double_precision(tuner: FineTuner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rounding is out of the way, a wrong rule shows."""
    monkeypatch.setattr(FineTuner, "forward", lambda self, x: self.model(x))
    tuner.model.double()
    tuner._pretrained = {
        name: tensor.double() if tensor.is_floating_point() else tensor
        for name, tensor in tuner._pretrained.items()
    }
    tuner._mean, tuner._std = tuner._mean.double(), tuner._std.double()


def test_the_tuner_is_as_it_was() -> None:
    tuner = make_tuner("dropout", augment="flip")
    plan = plans(4)[1]
    before = finish(tuner, plan)[1]
    list(FusedTuner(tuner).run(plans(4)))
    after = finish(tuner, plan)[1]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_measurement_leaves_no_trace() -> None:
    tuner = make_tuner("dropout", augment="flip")
    before = finish(tuner, plans(4)[1])[1]
    for count in (1, 3):
        assert images_per_second(tuner, count) > 0
        after = finish(tuner, plans(4)[1])[1]
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_cannot_be_fused() -> None:
    fused = FusedTuner(make_tuner())
    with pytest.raises(ValueError, match="no plan"):
        fused.run([])
    with pytest.raises(ValueError, match="policy"):
        fused.run([Plan((0.1,) * 4, policy={"method": "x"})])
    with pytest.raises(ValueError, match="3 units"):
        fused.run([Plan((0.1,) * 3)])
