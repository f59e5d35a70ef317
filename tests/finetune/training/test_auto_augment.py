"""TrivialAugment and RandAugment of a batch: torchvision's operations, ranges and odds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from revo_ray.finetune.training.auto_augment import (
    BINS,
    OPERATIONS,
    AutoKind,
    auto_augment,
    change,
    magnitudes,
)

TORCHVISION = {"trivial": v2.TrivialAugmentWide(), "randaugment": v2.RandAugment()}
SIGNED = OPERATIONS[1:10]


def batch(count: int, side: int = 32) -> Tensor:
    """Noise, with one image of a single colour and one of few."""
    generator = torch.Generator().manual_seed(9)
    images = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    images[count // 2] = 7
    images[count // 3] //= 64
    return images


def alone(image: Tensor, kind: AutoKind, name: str, magnitude: float) -> Tensor:
    """One image, changed by torchvision."""
    whole = int(magnitude) if name == "Posterize" else magnitude
    theirs = TORCHVISION[kind]
    return theirs._apply_image_or_video_transform(
        image, name, whole, interpolation=theirs.interpolation, fill=theirs._fill
    )


@pytest.mark.parametrize("kind", TORCHVISION)
@pytest.mark.parametrize("side", [8, 32, 224])
def test_operations_and_magnitudes_are_those_of_torchvision(kind: AutoKind, side: int) -> None:
    space, table = TORCHVISION[kind]._AUGMENTATION_SPACE, magnitudes(kind, side)
    assert sorted(space) == sorted(OPERATIONS)
    assert {name for name in space if space[name][1]} == set(SIGNED)
    for row, name in zip(table, OPERATIONS, strict=True):
        theirs = space[name][0](BINS, side, side)
        assert torch.equal(row, torch.zeros(BINS).double() if theirs is None else theirs.double())


@pytest.mark.parametrize("kind", TORCHVISION)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_magnitude_gives_the_image_of_torchvision(kind: AutoKind, name: str) -> None:
    images, index = batch(2 * BINS), OPERATIONS.index(name)
    row = magnitudes(kind, 32)[index]
    strengths = torch.cat([row, -row if name in SIGNED else row])
    before = images.clone()
    results = change(images, torch.full((2 * BINS,), index), strengths)
    assert torch.equal(images, before)
    for image, strength, result in zip(images, strengths.tolist(), results, strict=True):
        assert torch.equal(result, alone(image, kind, name, strength))


def test_a_mixed_batch_of_large_images_gives_the_images_of_torchvision() -> None:
    generator = torch.Generator().manual_seed(3)
    images, table = batch(28, 224), magnitudes("trivial", 224)
    operation = torch.arange(28)[torch.randperm(28, generator=generator)] % len(OPERATIONS)
    strengths = table[operation, torch.randint(BINS, (28,), generator=generator)]
    results = change(images, operation, strengths)
    for image, index, strength, result in zip(
        images, operation.tolist(), strengths.tolist(), results, strict=True
    ):
        assert torch.equal(result, alone(image, "trivial", OPERATIONS[index], strength))


@pytest.mark.parametrize("kind", TORCHVISION)
def test_an_image_does_not_depend_on_the_others(kind: AutoKind) -> None:
    images, other = batch(40), batch(40)
    other[1:] = 255 - other[1:]
    first, second = (
        auto_augment(each, kind, torch.Generator().manual_seed(5)) for each in (images, other)
    )
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", TORCHVISION)
def test_each_image_draws_operations_and_signs_at_the_odds_of_torchvision(
    kind: AutoKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Tensor, Tensor]] = []

    def record(images: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
        drawn.append((operation, magnitude))
        return images

    monkeypatch.setattr("revo_ray.finetune.training.auto_augment.change", record)
    state, count = torch.get_rng_state(), 28000
    auto_augment(torch.zeros(count, 3, 8, 8, dtype=torch.uint8), kind, torch.Generator())
    assert torch.equal(torch.get_rng_state(), state)
    table = magnitudes(kind, 8)
    assert len(drawn) == {"trivial": 1, "randaugment": 2}[kind]
    for operation, magnitude in drawn:
        for index, name in enumerate(OPERATIONS):
            own = magnitude[operation == index]
            assert len(own) / count == pytest.approx(1 / len(OPERATIONS), rel=0.1)
            possible = set((table[index] if kind == "trivial" else table[index, 9:10]).tolist())
            assert {abs(value) for value in own.tolist()} == possible
            negative = (own < 0).sum() / max(1, (own != 0).sum())
            assert negative == (pytest.approx(0.5, abs=0.05) if name in SIGNED else 0)
    if kind == "randaugment":
        assert (drawn[0][0] == drawn[1][0]).float().mean() == pytest.approx(1 / 14, rel=0.1)


@pytest.mark.parametrize("kind", TORCHVISION)
def test_one_image_is_a_batch(kind: AutoKind) -> None:
    generator, images = torch.Generator().manual_seed(0), batch(3)[2:]
    results = {auto_augment(images, kind, generator).numpy().tobytes() for _ in range(60)}
    assert len(results) > 10


def test_floats_are_refused() -> None:
    with pytest.raises(ValueError, match=r"trivial.*float32"):
        auto_augment(batch(2).float(), "trivial", torch.Generator())
