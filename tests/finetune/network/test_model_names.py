"""Names of models."""

from __future__ import annotations

import pytest

from revo_ray.finetune.network.model_names import list_models
from tests.finetune.network.backbones import refusal


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("torchvision/resnet81", "torchvision/resnet18"),
        ("timm/resnet18.no_such_tag", "timm/resnet18"),
        ("resnet18", "/resnet18"),
        ("keras/resnet18", "/resnet18"),
        ("torchvision/fasterrcnn_resnet50_fpn", "torchvision/resnet50"),
        ("???", "revo-ray models"),
    ],
)
def test_an_unknown_name_comes_with_near_ones(name: str, near: str) -> None:
    message = refusal(name, "none", 2)
    assert repr(name) in message
    assert near in message


def test_models_are_listed_by_pattern() -> None:
    names = list_models()
    assert {"torchvision/resnet18", "timm/tf_efficientnet_lite0"} <= set(names)
    assert "torchvision/fasterrcnn_resnet50_fpn" not in names
    assert names == sorted(names)
    assert list_models("torchvision/resnet1*") == [
        "torchvision/resnet101",
        "torchvision/resnet152",
        "torchvision/resnet18",
    ]
    assert all("lite0" in name for name in list_models("lite0"))
