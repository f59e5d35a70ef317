"""Image sizes: resized networks, and sizes that a network would not see whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import timm
import torch

from revo_ray.data.table.image_table import Table
from revo_ray.data.table.images import Images
from revo_ray.errors import UserError
from revo_ray.finetune.network.backbone import check_image_size, load_backbone
from revo_ray.finetune.network.first_use import find_first_use
from revo_ray.finetune.training.assemble import load_network
from revo_ray.settings.schema import DataConfig, ModelConfig, TrainConfig
from tests.finetune.network.backbones import refusal


def network_refusal(name: str, size: int) -> str:
    images = Images([np.zeros((2, 3, size, size), np.uint8)], size)
    table = Table(Path("none"), images, np.arange(2), tuple("ab"), pa.table({}))
    model, data = ModelConfig(name=name, weights="none"), DataConfig(image_size=size)
    with pytest.raises(UserError) as caught:
        load_network(model, data, TrainConfig(), table)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("name", "size", "nearest"),
    [
        ("timm/test_vit", 70, [64, 80]),
        ("timm/test_convnext", 66, [64, 68]),
        pytest.param("torchvision/swin_t", 70, [68, 72], marks=pytest.mark.nightly),
        ("torchvision/vit_b_32", 40, [32, 64]),
    ],
)
def test_a_size_whose_border_would_be_dropped_is_refused_with_the_nearest(
    name: str, size: int, nearest: list[int]
) -> None:
    message = network_refusal(name, size)
    assert message.startswith(f"data.image_size: {name} takes no images of {size} px")
    assert [int(s) for s in re.findall(r"(\d+) px", message.partition("nearest")[2])] == nearest


@pytest.mark.parametrize(
    ("name", "size"), [("timm/test_vit", 96), ("timm/test_convnext", 72), ("timm/test_resnet", 70)]
)
def test_the_border_of_other_images_reaches_the_logits(name: str, size: int) -> None:
    """The last row and column of pixels have a gradient, so the network sees them."""
    backbone = load_backbone(name, "none", 2, image_size=size)
    check_image_size(backbone, size, find_first_use(backbone.model, size))
    images = torch.randn(2, 3, size, size, requires_grad=True)
    backbone.model.eval()(images).sum().backward()
    assert images.grad is not None
    assert (images.grad[..., -1, :] != 0).any()
    assert (images.grad[..., -1] != 0).any()


@pytest.mark.parametrize("name", ["timm/pit_ti_224", "timm/xcit_nano_12_p16_224"])
def test_a_network_of_fixed_size_is_built_for_another(name: str) -> None:
    small, own = (load_backbone(name, "none", 2, image_size=size) for size in (64, 224))
    state, native = small.model.state_dict(), own.model.state_dict()
    assert small.model.eval()(torch.randn(2, 3, 64, 64)).shape == (2, 2)
    for key, tensor in native.items():
        if state[key].shape == tensor.shape:
            assert torch.equal(state[key], tensor)
        else:
            assert "pos_embed" in key
            # Interpolated, not drawn again.
            assert torch.allclose(state[key].mean(), tensor.mean(), atol=1e-2)


@pytest.mark.parametrize("shape", [((1, 50, 8), (1, 17, 8)), ((1, 49, 8), (1, 16, 8))])
def test_tokens_are_resampled_as_timm_does(shape: Any) -> None:
    from revo_ray.finetune.network.timm_models import _resample

    old, new = shape
    embedding = torch.randn(old, generator=torch.Generator().manual_seed(0))
    expected = timm.layers.resample_abs_pos_embed(embedding, [4, 4], num_prefix_tokens=old[1] - 49)
    assert torch.equal(_resample(embedding, new), expected)
    rows = embedding[:, old[1] - 49 :].reshape(1, 7, 7, 8).permute(0, 3, 1, 2)
    by_rows = _resample(rows, (1, 8, 4, 4)).permute(0, 2, 3, 1).reshape(1, 16, 8)
    assert torch.allclose(by_rows, expected[:, old[1] - 49 :])


def test_a_network_that_cannot_be_built_for_another_size_names_its_own() -> None:
    assert "224 px only" in refusal("timm/mixer_s32_224", "none", 2, image_size=64)
