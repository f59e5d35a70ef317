"""TrivialAugment Wide and RandAugment of a whole batch: no loop over images, no wait for a GPU.

torchvision's own transforms change one image at a time. Here the images of a batch are sorted by
their operation, and each kind of operation is one call. On a CPU with FMA the results are
torchvision's, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample
from torchvision.transforms.v2 import functional

from revo_ray.finetune.training.transfer import to_device

AutoKind = Literal["trivial", "randaugment"]

BINS = 31
"""Magnitudes of an operation."""


def auto_augment(images: Tensor, kind: AutoKind, generator: torch.Generator) -> Tensor:
    """Change every image by random operations, independently of the others.

    Args:
        images: (B, 3, S, S) uint8; not changed in place.
        kind: `trivial` for one operation of any magnitude, `randaugment` for two of magnitude 9.
        generator: on the CPU. All draws come from it.

    Returns:
        (B, 3, S, S) uint8 on the same device.

    Raises:
        ValueError: images of another type.
    """
    if images.dtype != torch.uint8:
        raise ValueError(f"augmentation {kind!r} needs uint8 images, not {images.dtype}")
    table, batch = magnitudes(kind, images.shape[-1]), len(images)
    for _ in range(2 if kind == "randaugment" else 1):
        operation = torch.randint(len(OPERATIONS), (batch,), generator=generator)
        level = torch.randint(BINS, (batch,), generator=generator)
        negative = torch.rand(batch, generator=generator) <= 0.5
        magnitude = table[operation, level if kind == "trivial" else 9]
        signed = operation < OPERATIONS.index("Posterize")
        magnitude = torch.where(negative & signed, -magnitude, magnitude)
        images = change(images, operation, magnitude)
    return images


def magnitudes(kind: AutoKind, side: int) -> Tensor:
    """Magnitudes (operations, bins) float64 for images of a side, all positive.

    The ranges are torchvision's: `trivial` is "Wide" of arXiv 2103.10158, `randaugment` is arXiv
    1909.13719. A shear is a tangent, a shift pixels, a rotation degrees. A blend's factor is 1 plus
    its magnitude. `Posterize` keeps so many bits, `Solarize` inverts from this share of white on.
    """
    if kind == "trivial":
        shear, shift, angle, blend, bits = 0.99, 32.0, 135.0, 0.99, 6
    else:
        shear, shift, angle, blend, bits = 0.3, 150 / 331 * side, 30.0, 0.9, 4
    tops = [0.0, shear, shear, shift, shift, angle, blend, blend, blend, blend]
    rows = [torch.linspace(0, top, BINS) for top in tops]
    rows.append((8 - torch.arange(BINS) / ((BINS - 1) / bits)).round())
    rows.append(torch.linspace(1, 0, BINS))
    rows += [torch.zeros(BINS)] * 2
    return torch.stack(rows).double()


def change(images: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """Apply one operation to each image.

    Args:
        images: (B, 3, S, S) on any device.
        operation: (B,) positions in `OPERATIONS`, on the CPU.
        magnitude: (B,) float64 with its sign, on the CPU.
    """
    # Sorted on the CPU: the device would have to tell how many images a group has.
    operation, order = operation.sort()
    counts = operation.bincount(minlength=len(OPERATIONS)).tolist()
    positions = [[OPERATIONS.index(name) for name in names] for names in _CALLS]
    groups = [[counts[position] for position in group] for group in positions]
    sizes = [sum(group) for group in groups]
    parts = images.index_select(0, to_device(order, images.device)).split(sizes)
    strengths = magnitude[order].split(sizes)
    calls = zip(_CALLS.values(), parts, strengths, groups, strict=True)
    done = [call(*arguments) for call, *arguments in calls if len(arguments[0])]
    return torch.cat(done).index_select(0, to_device(order.argsort(), images.device))


def _per_image(values: list[Tensor], device: torch.device) -> Tensor:
    """Values (n,) of k kinds as (k, n, 1, 1, 1) float32 on the device, by one copy."""
    return to_device(torch.stack(values).float(), device)[..., None, None, None]


def _fused(start: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """start + one · other in float32 with one rounding, as torch's `add` and products of matrices.

    The last bit matters: values are cut to integers, and places half-way between pixels are common.
    """
    return (start.double() + one.double() * other.double()).float()


def _keep(images: Tensor, magnitude: Tensor, counts: list[int]) -> Tensor:
    return images


def _move(images: Tensor, magnitude: Tensor, counts: list[int]) -> Tensor:
    """Shear, shift or turn each image: nearest pixels, black where there is none.

    The matrices map a pixel to the place that it comes from, in pixels from the centre. A shear
    leaves the upper left corner where it is.
    """
    (height, width), device = images.shape[-2:], images.device
    kind = torch.arange(5).repeat_interleave(torch.tensor(counts))
    only = [torch.where(kind == each, magnitude, 0.0) for each in range(5)]
    shear_x, shear_y, (right, down), turn = *only[:2], (each.trunc() for each in only[2:4]), only[4]
    cos, sin = turn.deg2rad().cos(), turn.deg2rad().sin()
    rows = [cos, shear_x - sin, shear_x * height / 2 - right]
    rows += [shear_y + sin, cos, shear_y * width / 2 - down]
    matrix = _per_image(rows, device).squeeze(-1)
    x, y = (torch.arange(side, device=device) - (side - 1) / 2 for side in (width, height))
    places = torch.empty(len(images), height, width, 2, device=device)
    for axis, half in enumerate((width / 2, height / 2)):
        by_x, by_y, shift = matrix[3 * axis : 3 * axis + 3] / half
        torch.add(_fused(x * by_x, y[:, None], by_y), shift, out=places[..., axis])
    moved = grid_sample(images.float(), places, "nearest", "zeros", align_corners=False)
    return moved.to(torch.uint8)


def _brighten(images: Tensor, magnitude: Tensor, counts: list[int]) -> Tensor:
    (factor,) = _per_image([1 + magnitude], images.device)
    return _cut(images.float().mul_(factor))


def _colour(images: Tensor, magnitude: Tensor, counts: list[int]) -> Tensor:
    factor, rest = _per_image([1 + magnitude, -magnitude], images.device)
    return _cut(_fused(images.float().mul_(factor), functional.rgb_to_grayscale(images), rest))


def _contrast(images: Tensor, magnitude: Tensor, counts: list[int]) -> Tensor:
    factor, rest = _per_image([1 + magnitude, -magnitude], images.device)
    grey = functional.rgb_to_grayscale(images).float()
    mean = grey.sum(dim=(1, 2, 3), keepdim=True) / grey[0].numel()
    return _cut(_fused(images.float().mul_(factor), mean, rest))


def _sharpen(images: Tensor, magnitude: Tensor, counts: list[int]) -> Tensor:
    """Blend with the blurred image, except at the edges.

    torchvision convolves with a kernel that it copies to the device, and TF32 would round it. The
    sums of integers here are exact, and a 13th of one never lies half-way between integers.
    """
    (rest,) = _per_image([-magnitude], images.device)
    floats = images.float()
    inner = floats[..., 1:-1, 1:-1]
    blurred = avg_pool2d(floats, 3, stride=1, divisor_override=1).add_(inner, alpha=4).div_(13)
    inner.copy_(_fused(inner, blurred.round_().sub_(inner), rest))
    return _cut(floats)


def _cut(floats: Tensor) -> Tensor:
    return floats.clamp_(0, 255).to(torch.uint8)


def _posterize(images: Tensor, magnitude: Tensor, counts: list[int]) -> Tensor:
    (mask,) = _per_image([256 - 2 ** (8 - magnitude)], images.device)
    return images & mask.to(torch.uint8)


def _solarize(images: Tensor, magnitude: Tensor, counts: list[int]) -> Tensor:
    (threshold,) = _per_image([255 * magnitude], images.device)
    bright = images >= threshold.ceil().to(torch.uint8)
    return images ^ bright.to(torch.uint8).neg_()


_CALLS: dict[tuple[str, ...], Callable[[Tensor, Tensor, list[int]], Tensor]] = {
    ("Identity",): _keep,
    ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"): _move,
    ("Brightness",): _brighten,
    ("Color",): _colour,
    ("Contrast",): _contrast,
    ("Sharpness",): _sharpen,
    ("Posterize",): _posterize,
    ("Solarize",): _solarize,
    ("AutoContrast",): lambda images, *_: functional.autocontrast(images),
    ("Equalize",): lambda images, *_: functional.equalize(images),
}
OPERATIONS = tuple(name for names in _CALLS for name in names)
"""Names of the operations, in torchvision's words."""
