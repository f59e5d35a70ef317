"""Augmentation: seeded, one draw for each image, and torch's global state left alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from revo_ray.finetune.training.augment import Kind, _drawn_from, augment

KINDS: list[Kind] = ["none", "flip", "crop-flip", "trivial", "randaugment"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int = 64, side: int = 16) -> Tensor:
    image = torch.randint(0, 256, (1, 3, side, side), generator=generator(9), dtype=torch.uint8)
    return image.repeat(n, 1, 1, 1)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, torch.uint8) for kind in KINDS] + [(kind, torch.float32) for kind in KINDS[:3]],
)
def test_seeded_and_of_the_same_kind(kind: Kind, dtype: torch.dtype) -> None:
    images = batch() if dtype == torch.uint8 else batch().float() / 255
    before, state = images.clone(), torch.get_rng_state()
    first = augment(images, kind, generator())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)
    assert (first.shape, first.dtype) == (images.shape, dtype)
    torch.rand(5)
    assert torch.equal(first, augment(images, kind, generator()))
    if kind != "none":
        assert not torch.equal(first, augment(images, kind, generator(1)))
        source = generator()
        assert torch.equal(first, augment(images, kind, source))
        assert not torch.equal(first, augment(images, kind, source))


@pytest.mark.parametrize(
    ("kind", "least"), [("flip", 2), ("crop-flip", 20), ("trivial", 20), ("randaugment", 20)]
)
def test_equal_images_get_different_draws(kind: Kind, least: int) -> None:
    results = augment(batch(), kind, generator())
    assert len({bytes(image.numpy().tobytes()) for image in results}) >= least


def test_flip_mirrors_half_of_the_images() -> None:
    images = batch(400)
    results = augment(images, "flip", generator())
    mirrored = (results == images.flip(-1)).flatten(1).all(1)
    assert ((results == images).flatten(1).all(1) ^ mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_crop_moves_by_an_eighth_at_most_and_reflects() -> None:
    images = batch(200, side=16)
    padded = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="reflect").byte()
    windows = [padded[0, :, y : y + 16, x : x + 16] for y in range(5) for x in range(5)]
    allowed = {w.numpy().tobytes() for window in windows for w in (window, window.flip(-1))}
    found = {image.numpy().tobytes() for image in augment(images, "crop-flip", generator())}
    assert found <= allowed
    assert len(found) > 40


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="mixup"):
        augment(batch(), "mixup", generator())  # type: ignore[arg-type]


def test_each_block_draws_from_a_seed_of_its_own() -> None:
    generator, drawn = torch.Generator().manual_seed(0), set()
    for _ in range(300):
        with _drawn_from(generator):
            drawn.add(float(torch.rand(())))
    assert len(drawn) == 300
