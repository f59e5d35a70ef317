"""Training the head alone, compared with plain torch on features that were computed once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import TrainConfig
from tests.finetune.tuners import CLASSES, make_splits, make_table

RATE, SEED, SIDE = 0.01, 3, 64


@pytest.mark.slow
@pytest.mark.parametrize("cache_mb", [0, pytest.param(64, marks=pytest.mark.nightly)])
def test_a_frozen_efficientnet_gives_its_head_the_features_of_eval_mode(cache_mb: int) -> None:
    """Its norms and stochastic depths are in eval mode, and its classifier has no dropout here."""
    backbone = load_backbone("torchvision/efficientnet_b0", "none", CLASSES, image_size=SIDE)
    model: Any = backbone.model
    model.classifier[0].p = 0.0
    table, splits = make_table(side=SIDE), make_splits(20)
    pixels = torch.from_numpy(table.images[list(range(80))]).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (backbone.mean, backbone.std))
    images = (pixels - mean) / std
    torch.manual_seed(0)
    update_bn([images], model)  # random weights with the statistics of these images
    plain = copy.deepcopy(model).eval()
    options: Any = {"optimizer": "sgd", "momentum": 0.9, "schedule": "constant", "augment": "none"}
    train = TrainConfig(epochs=2, batch_size=8, seed=SEED, cache_mb=cache_mb, **options)
    units = find_units(model, "layer", backbone.head)
    tuner = FineTuner(backbone, units, table, splits, train)
    list(tuner.run(Plan((0.0,) * (len(units) - 1) + (RATE,))))

    with torch.no_grad():
        features = plain.avgpool(plain.features(images)).flatten(1)
    head = plain.classifier[1]
    before = head(features[splits.test]).detach()
    optimizer = torch.optim.SGD(head.parameters(), lr=RATE, momentum=0.9, fused=True)
    labels, order = torch.from_numpy(table.labels), torch.Generator().manual_seed(SEED)
    for _ in range(2):
        for batch in torch.from_numpy(splits.train)[torch.randperm(20, generator=order)].split(8):
            optimizer.zero_grad()
            functional.cross_entropy(head(features[batch]), labels[batch]).backward()
            optimizer.step()
    expected = head(features[splits.test]).detach()
    assert torch.allclose(tuner.predict("test"), expected, rtol=0, atol=1e-5)
    assert (expected - before).abs().max() > 0.1
