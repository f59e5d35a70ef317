"""Backbones: names, the new head, normalisation, image sizes, and what the seed decides."""

from __future__ import annotations

import pytest
import torch

from revo_ray.errors import UserError
from revo_ray.finetune.network.backbone import list_models, load_backbone
from revo_ray.finetune.network.units import find_units
from tests.finetune.network.backbones import IMAGENET, SMALL, refusal


@pytest.mark.parametrize("name", [SMALL, "timm/test_resnet"])
def test_random_weights_and_head_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    first = load_backbone(name, "none", 5, seed=3)
    torch.manual_seed(2)
    again = load_backbone(name, "none", 5, seed=3).model.state_dict()
    other = load_backbone(name, "none", 5, seed=4).model.state_dict()
    state = first.model.state_dict()
    assert all(torch.equal(state[key], again[key]) for key in state)
    assert not torch.equal(state[f"{first.head}.weight"], other[f"{first.head}.weight"])
    assert any(not torch.equal(state[k], other[k]) for k in state if k != f"{first.head}.weight")
    assert first.weights_sha256 is None


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", [SMALL, "timm/test_resnet"])
def test_the_callers_random_state_is_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    load_backbone(name, "none", 5, seed=3, image_size=64)
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(UserError):
        load_backbone("torchvision/inception_v3", "none", 5, image_size=32)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "head"),
    [
        (SMALL, "fc"),
        ("torchvision/mobilenet_v3_small", "classifier.3"),
        ("torchvision/squeezenet1_1", "classifier.1"),
        ("torchvision/googlenet", "fc"),
        ("timm/test_resnet", "fc"),
        ("timm/test_convnext", "head.fc"),
        ("timm/test_vit", "head"),
    ],
)
def test_the_head_is_new_named_and_a_unit_of_its_own(name: str, head: str) -> None:
    backbone = load_backbone(name, "none", 5, seed=0)
    assert backbone.name == name
    assert backbone.head == head
    assert backbone.model.training
    assert backbone.model.state_dict()[f"{head}.weight"].shape[0] == 5
    heads = [unit for unit in find_units(backbone.model, "layer", backbone.head) if unit.head]
    assert [unit.name for unit in heads] == [head]
    backbone.model.eval()
    with torch.no_grad():
        assert backbone.model(torch.zeros(1, 3, 160, 160)).shape == (1, 5)


def test_normalisation_is_that_of_the_model() -> None:
    inception = load_backbone("timm/vit_tiny_patch16_224", "none", 2)
    assert (inception.mean, inception.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    imagenet = load_backbone(SMALL, "none", 2)
    assert (imagenet.mean, imagenet.std) == IMAGENET


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("torchvision/inception_v3", 32),
        ("torchvision/vit_b_32", 40),
        ("timm/mixer_s32_224", 64),
    ],
)
def test_an_image_size_that_the_model_cannot_take_is_refused(name: str, size: int) -> None:
    message = refusal(name, "none", 2, image_size=size)
    assert name in message
    assert str(size) in message


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
