"""Small images through depthwise convolutions: torch's own sums, and only there another way."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from revo_ray.finetune.training.depthwise import (
    DepthwiseConv2d,
    DepthwiseConv2dSame,
    use_matrices,
    without_matrices,
)

CHANNELS = 6


def both(layer: nn.Conv2d, size: tuple[int, int]) -> tuple[list[Tensor], list[Tensor]]:
    """Output and gradients of the layer as it was, and as it is then."""
    x = torch.randn(3, CHANNELS, *size, generator=torch.Generator().manual_seed(0))
    x = x.double()
    found = []
    for module in (layer, copy.deepcopy(layer)):
        if found:
            use_matrices(nn.Sequential(module))
            assert isinstance(module, DepthwiseConv2d)
        module.double()
        own = x.clone().requires_grad_()
        made = module(own)
        made.square().sum().backward()
        found.append([made, own.grad, *(p.grad for p in module.parameters())])
    return found[0], found[1]


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 3), (3, 2), (4, 4), (2, 8), (6, 7)])
@pytest.mark.parametrize("kernel", [3, 5, (3, 5)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", ["plain", "same", "bias"])
def test_the_sums_are_those_of_torch(
    size: tuple[int, int], kernel: int | tuple[int, int], stride: int, kind: str
) -> None:
    torch.manual_seed(1)
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    layer = (
        Conv2dSame(CHANNELS, CHANNELS, kernel, stride, groups=CHANNELS, bias=False)
        if kind == "same"
        else nn.Conv2d(
            *(CHANNELS, CHANNELS, kernel, stride),
            padding=(sides[0] // 2, sides[1] // 2),
            groups=CHANNELS,
            bias=kind == "bias",
        )
    )
    torch.testing.assert_close(*both(layer, size), rtol=1e-12, atol=1e-12)


def test_only_small_images_take_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1, groups=4)
    use_matrices(layer)
    asked: list[tuple[int, ...]] = []
    plain = nn.Conv2d.forward
    monkeypatch.setattr(
        nn.Conv2d, "forward", lambda self, x: asked.append(tuple(x.shape[-2:])) or plain(self, x)
    )
    for size in ((1, 1), (2, 2), (3, 3), (2, 9), (8, 8)):
        assert layer(torch.rand(2, 4, *size)).shape[-2:] == size
    assert asked == [(3, 3), (2, 9), (8, 8)]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 8, 3, groups=4),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, groups=4, dilation=2),
        nn.Conv2d(4, 4, 3, groups=4, padding="same"),
        nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"),
    ],
    ids=["multiplied", "grouped", "full", "dilated", "same", "reflected"],
)
def test_others_stay_as_they_are(layer: nn.Conv2d) -> None:
    use_matrices(layer)
    assert type(layer) is nn.Conv2d


def test_a_network_gives_the_same_logits() -> None:
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite0", num_classes=10).eval()
    x = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():  # what is kept here must serve training
        before = model(x)
        names = list(model.state_dict())
        use_matrices(model)
        torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
        assert not torch.equal(model(x), before)
        with without_matrices(model):
            assert torch.equal(model(x), before)
    assert list(model.state_dict()) == names
    kinds = {type(module) for module in model.modules()}
    assert {DepthwiseConv2d, DepthwiseConv2dSame} <= kinds
    model.train()(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
