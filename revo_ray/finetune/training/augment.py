"""Random augmentation of a batch of images, on the device where they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms import v2

from revo_ray.finetune.training.auto_augment import auto_augment
from revo_ray.finetune.training.transfer import to_device

Kind = Literal["none", "flip", "crop-flip", "trivial", "randaugment"]


def augment(images: Tensor, kind: Kind, generator: torch.Generator) -> Tensor:
    """Change every image at random, independently of the others.

    - `flip`: left and right are exchanged with probability 1/2.
    - `crop-flip`: the image is moved by up to 1/8 of its side both ways, the gap is filled by
      reflection; then `flip`.
    - `trivial`: one random operation of random strength, as torchvision's TrivialAugment Wide
      (arXiv 2103.10158).
    - `randaugment`: two random operations, as torchvision's RandAugment (arXiv 1909.13719).

    The draws come from `generator` alone; torch's global random state is left as it was. Nothing
    waits for a GPU.

    Args:
        images: (B, 3, S, S) uint8; any type for flips and crops. Not changed in place.
        kind: `none` or one of the above.
        generator: on the CPU, so that the draws are the same on every device.

    Returns:
        (B, 3, S, S) of the same type on the same device.

    Raises:
        ValueError: an unknown kind, or images of another type.
    """
    if kind == "none":
        return images
    if kind == "flip":
        return _flip(images, generator)
    if kind == "crop-flip":
        return _flip(_shift(images, generator), generator)
    if kind in ("trivial", "randaugment"):
        return auto_augment(images, kind, generator)
    raise ValueError(f"unknown augmentation {kind!r}")


def _flip(images: Tensor, generator: torch.Generator) -> Tensor:
    flipped = torch.rand(len(images), generator=generator) < 0.5
    flipped = to_device(flipped, images.device).view(-1, 1, 1, 1)
    return torch.where(flipped, images.flip(-1), images)


def _shift(images: Tensor, generator: torch.Generator) -> Tensor:
    batch, side = len(images), images.shape[-1]
    reach = max(side // 8, 1)
    shifts = torch.randint(-reach, reach + 1, (2, batch, 1), generator=generator)
    at = (torch.arange(side) + shifts).abs()
    at = (side - 1) - ((side - 1) - at).abs()
    rows, columns = to_device(at, images.device)
    index = torch.arange(batch, device=images.device).view(-1, 1, 1)
    # Two index arrays around the slice of the channels: the channels come last.
    moved = images[index, :, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2).contiguous()


def mix(
    images: Tensor,
    labels: Tensor,
    classes: int,
    mixup: float,
    cutmix: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Mix every image of a batch, and its label, with its neighbour, by torchvision's transforms.

    Args:
        images: (B, 3, S, S) floats; not changed in place.
        labels: (B,) classes.
        classes: number of classes C.
        mixup, cutmix: α of `v2.MixUp` and `v2.CutMix`, 0 for none; of two each batch gets one, at
            equal odds.
        generator: on the CPU. All draws come from it.

    Returns:
        images (B, 3, S, S) and the probabilities (B, C) of their classes; or the arguments, if
        both α are 0.
    """
    kinds: list[v2.Transform] = []
    if mixup:
        kinds.append(v2.MixUp(alpha=mixup, num_classes=classes))
    if cutmix:
        kinds.append(v2.CutMix(alpha=cutmix, num_classes=classes))
    if not kinds:
        return images, labels
    chosen = kinds[int(torch.randint(len(kinds), (), generator=generator))]
    with _drawn_from(generator):
        mixed: tuple[Tensor, Tensor] = chosen(images, labels)
    return mixed


@contextmanager
def _drawn_from(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's global state inside the block by one draw, and put it back afterwards.

    torchvision draws from the global state of the CPU, whatever the images' device.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
