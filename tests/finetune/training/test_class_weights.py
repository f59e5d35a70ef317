"""Balanced class weights: scikit-learn's values, in torch's own loss, in training only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional

from revo_ray.data.splits.split import Splits
from revo_ray.finetune.network.backbone import Backbone
from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.tuner import FineTuner
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
)


def unequal_tuner(**options: Any) -> FineTuner:
    """A tuner of training images of which few are of class 0."""
    table = make_table()
    splits = make_splits(40)
    rare = np.flatnonzero(table.labels[splits.train] == 0)[2:]
    train = np.delete(splits.train, rare)
    model = make_model("small")
    config = TrainConfig(optimizer="sgd", epochs=2, batch_size=8, seed=3, **options)
    backbone = Backbone("small", model, "", MEAN, STD, "none", None)
    return FineTuner(
        backbone, find_units(model), table, Splits(train, splits.validation, splits.test), config
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_are_those_of_scikit_learn_in_torchs_loss(smoothing: float) -> None:
    tuner = unequal_tuner(class_weights="balanced", label_smoothing=smoothing)
    labels = tuner.feeds["train"].labels
    weights = compute_class_weight("balanced", classes=np.arange(CLASSES), y=labels.numpy())
    weight = torch.tensor(weights, dtype=torch.float32)
    assert weight[labels].mean().item() == pytest.approx(1)
    assert weight[0] > 2 * weight[1:].max()
    loss = nn.CrossEntropyLoss(weight, label_smoothing=smoothing)
    index = torch.arange(len(labels))
    with torch.no_grad():
        ours, logits = tuner.loss(index), tuner.forward(tuner.normalise(pixels(tuner, index)))
    assert torch.equal(ours, loss(logits, labels))
    assert not torch.equal(ours, nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels))


def pixels(tuner: FineTuner, index: Tensor) -> Tensor:
    return tuner.feeds["train"].pixels(index)


def test_mixed_labels_are_weighted_as_torch_weighs_probabilities() -> None:
    tuner = unequal_tuner(class_weights="balanced", mixup=0.4)
    labels, logits = tuner.feeds["train"].labels, torch.randn(8, CLASSES)
    mixed_labels = functional.one_hot(labels[:8], CLASSES) * 0.7 + 0.3 / CLASSES
    weights = compute_class_weight("balanced", classes=np.arange(CLASSES), y=labels.numpy())
    weight = torch.tensor(weights, dtype=torch.float32)
    expected = -(mixed_labels * weight * logits.log_softmax(1)).sum() / 8
    assert tuner._loss(logits, mixed_labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_class_weights_change_training_and_no_score_of_given_weights() -> None:
    plain_one, weighted = unequal_tuner(), unequal_tuner(class_weights="balanced")
    assert plain_one.evaluate("validation") == weighted.evaluate("validation")
    plan = Plan((0.05,) * len(weighted.units))
    *_, last = weighted.run(plan)
    assert not equal(finish(plain_one, plan)[1], weighted.state_dict())
    plain_one.load_state_dict(weighted.state_dict())
    assert plain_one.evaluate("validation") == last.validation


def test_equal_classes_train_the_same_with_weights() -> None:
    splits = [make_tuner(train=80, class_weights=kind) for kind in ("none", "balanced")]
    plan = Plan((0.05,) * len(splits[0].units))
    labels = splits[0].feeds["train"].labels
    assert torch.bincount(labels).unique().numel() == 1
    one, two = (finish(tuner, plan)[1] for tuner in splits)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5)
