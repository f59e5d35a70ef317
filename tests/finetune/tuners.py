"""Small models, and tuners of them on random images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import timm
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.data.table.images import Images
from revo_ray.finetune.network.backbone import Backbone
from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.loop import Epoch
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import TrainConfig

CLASSES = 4
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def small(dropout: float = 0.0) -> nn.Module:
    """Three convolutions with BatchNorm, and a head: four units."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout)),
        *(nn.Conv2d(8, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)),
    )


def depthwise() -> nn.Module:
    """A depthwise convolution of images of 4×4, if they come with 16×16."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 4, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)),
    )


def make_model(name: str) -> nn.Module:
    torch.manual_seed(11)
    if name == "small":
        return small()
    if name == "dropout":
        return small(0.3)
    if name == "depthwise":
        return depthwise()
    if name == "resnet10":
        return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)
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
