"""Depthwise convolutions of images that are smaller than the kernel, on a CPU.

Deep in a network that was made for 224 pixels, an image of 32 or 64 is one to four pixels wide, and
most of a 5×5 kernel meets only padding. The CPU's convolutions are slow there, and their gradients
slower still. Multiplying by a matrix of pixels by pixels for each channel takes a fraction of the
time (`benchmarks.step`), and gives the same sums within float32's rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST_PIXELS = 16
"""Pixels of the largest small image, 4×4. For larger ones matrices cost more than they save."""

Pair = tuple[int, int]


def use_matrices(model: nn.Module) -> None:
    """Let a network's depthwise convolutions multiply by matrices if images are small.

    Modules and parameters keep their names and places. Subclasses of torch's and timm's
    convolutions are left alone.
    """
    for module in model.modules():
        kind = _KINDS.get(f"{type(module).__module__}.{type(module).__qualname__}")
        if kind is not None and _fits(module):
            module.__class__ = kind


@contextmanager
def without_matrices(model: nn.Module) -> Iterator[None]:
    """Use torch's convolutions inside the block: the bits that other programs compute."""
    own = [module for module in model.modules() if isinstance(module, DepthwiseConv2d)]
    for module in own:
        module.uses_matrices = False
    try:
        yield
    finally:
        for module in own:
            module.uses_matrices = True


def _fits(module: nn.Module) -> bool:
    assert isinstance(module, nn.Conv2d)
    return (
        module.groups == module.in_channels == module.out_channels
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


class DepthwiseConv2d(nn.Conv2d):
    """A convolution with one filter for each channel."""

    uses_matrices = True

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, h, w) to images (B, C, h', w')."""
        image, kernel = (x.shape[-2], x.shape[-1]), self.kernel_size
        small = image[0] * image[1] <= MOST_PIXELS and (
            kernel[0] > image[0] or kernel[1] > image[1]
        )
        if not (small and self.uses_matrices):
            return self._usual(x)
        taps, size = _taps(image, kernel, self.stride, self._padding(image))
        taps = taps.to(self.weight.dtype)
        matrices = (self.weight.flatten(1) @ taps.flatten(1)).unflatten(1, taps.shape[1:])
        made = x.flatten(2).transpose(0, 1) @ matrices  # (C, B, h·w) by (C, h·w, h'·w')
        images = made.transpose(0, 1).unflatten(2, size)
        return images if self.bias is None else images + self.bias.view(-1, 1, 1)

    def _usual(self, x: Tensor) -> Tensor:
        return super().forward(x)

    def _padding(self, image: Pair) -> tuple[Pair, Pair]:
        """Padding before and after the rows, and before and after the columns."""
        assert not isinstance(self.padding, str)
        rows, columns = self.padding
        return (rows, rows), (columns, columns)


class DepthwiseConv2dSame(DepthwiseConv2d):
    """A depthwise convolution with TensorFlow's "same" padding: ⌈pixels / stride⌉ come out."""

    def _usual(self, x: Tensor) -> Tensor:
        rows, columns = self._padding((x.shape[-2], x.shape[-1]))
        padded = functional.pad(x, (*columns, *rows))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)

    def _padding(self, image: Pair) -> tuple[Pair, Pair]:
        rows, columns = (
            max(0, (-(-size // stride) - 1) * stride + kernel - size)
            for size, kernel, stride in zip(image, self.kernel_size, self.stride, strict=True)
        )
        return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)


_KINDS: dict[str, type[nn.Module]] = {
    "torch.nn.modules.conv.Conv2d": DepthwiseConv2d,
    "timm.layers.conv2d_same.Conv2dSame": DepthwiseConv2dSame,
}
"""Classes by name, so that timm is not imported if the network does not use it."""


@lru_cache
def _taps(
    image: Pair, kernel: Pair, stride: Pair, padding: tuple[Pair, Pair]
) -> tuple[Tensor, Pair]:
    """1 at the pixels that a tap joins, else 0: (taps, h·w, h'·w') float32; and (h', w')."""
    rows, columns = (
        (size + sum(pads) - width) // step + 1
        for size, pads, width, step in zip(image, padding, kernel, stride, strict=True)
    )
    with torch.inference_mode(False):
        pixels = torch.eye(image[0] * image[1]).view(-1, 1, *image)
        padded = functional.pad(pixels, (*padding[1], *padding[0]))
        taps = functional.unfold(padded, kernel, stride=stride).transpose(0, 1)
        return taps.clone(memory_format=torch.contiguous_format), (rows, columns)
