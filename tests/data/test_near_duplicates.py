"""Duplicates: all that are there, none that are not, and those that a user would call the same."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits, load_sample_images

from revo_ray.data import near_duplicates
from revo_ray.data.files.decode import square
from revo_ray.data.near_duplicates import (
    MAX_DISTANCE,
    MAX_LOW_DISTANCE,
    MIN_CORRELATION,
    SIDE,
    ImageHashes,
    find_near_duplicates,
)


def photographs() -> list[Image.Image]:
    """Cuts of two photographs that overlap by half their width at most."""
    return [
        Image.fromarray(photograph[top : top + 200, left : left + 200])
        for photograph in load_sample_images().images
        for top in (0, 100, 200)
        for left in (0, 100, 200, 300, 400)
    ]


def reencoded(image: Image.Image, kind: str, **options: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer)


def resized(image: Image.Image) -> Image.Image:
    return image.resize((150, 150), Image.Resampling.BICUBIC)


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.1)


def hashes_of(image: Image.Image) -> ImageHashes:
    return ImageHashes.of(square(image, 64))


def between(first: list[Image.Image], second: list[Image.Image]) -> tuple[list, list]:
    """The pairs with the same pixels and the similar ones, as positions in the two lists."""
    hashes = [hashes_of(image) for image in [*first, *second]]
    split = np.arange(len(hashes))
    (found,) = find_near_duplicates(hashes, [split[: len(first)], split[len(first) :]])
    return tuple(
        [(i, j - len(first)) for i, j in pairs.tolist()] for pairs in (found.same, found.similar)
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_picture_saved_without_loss_has_the_same_pixels(kind: str) -> None:
    images = photographs()
    same, similar = between(images, [reencoded(images[7], kind)])
    assert (same, similar) == ([(7, 0)], [])


@pytest.mark.parametrize(
    "change",
    [
        lambda image: reencoded(image, "JPEG", quality=60),
        resized,
        brighter,
        lambda image: reencoded(brighter(resized(image)), "JPEG", quality=75),
        lambda image: image.convert("L"),
    ],
    ids=["jpeg", "smaller", "brighter", "all three", "grey"],
)
def test_a_picture_that_was_worked_on_is_similar(
    change: Callable[[Image.Image], Image.Image],
) -> None:
    images = photographs()
    same, similar = between(images, [change(image) for image in images])
    assert same == []
    assert similar == [(i, i) for i in range(len(images))]


def test_different_pictures_are_no_duplicates() -> None:
    images = photographs()
    assert between(images[::2], images[1::2]) == ([], [])
    digits = [Image.fromarray((digit * 15).astype(np.uint8)) for digit in load_digits().images]
    assert between(digits[::2], digits[1::2]) == ([], [])


def test_flat_pictures_are_duplicates_only_if_equal() -> None:
    greys = [Image.new("RGB", (30, 30), (grey, 90, 90)) for grey in (10, 80, 200)]
    same, similar = between(greys, [greys[2], Image.new("RGB", (30, 30), (11, 90, 90))])
    assert (same, similar) == ([(2, 0)], [])


def test_duplicates_within_one_split_and_in_none_are_passed_over() -> None:
    images = photographs()[:4]
    hashes = [hashes_of(image) for image in [*images, images[0], resized(images[1]), images[2]]]
    splits = [np.array([0, 4]), np.array([1, 5]), np.array([3])]
    for found in find_near_duplicates(hashes, splits):
        assert len(found.same) == len(found.similar) == 0
    splits = [np.array([0, 1]), np.array([4, 6]), np.array([2, 5])]
    first, second, third = find_near_duplicates(hashes, splits)
    assert [pair.splits for pair in (first, second, third)] == [(0, 1), (0, 2), (1, 2)]
    assert (first.same.tolist(), first.similar.tolist()) == ([[0, 4]], [])
    assert (second.same.tolist(), second.similar.tolist()) == ([], [[1, 5]])
    assert (third.same.tolist(), third.similar.tolist()) == ([[6, 2]], [])


def test_similar_images_are_those_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The likest image of the first split is found; blocks do not fit the numbers of images."""
    monkeypatch.setattr(near_duplicates, "_BLOCK", 7)
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2, (100, SIDE, SIDE), dtype=np.uint8)
    thumbnails = generator.integers(0, 256, (100, SIDE**2), dtype=np.uint8)
    parent = generator.integers(0, 60, 100)
    for i in range(60, 100):  # the further, the less alike: in one of three ways
        step = i - 60
        changed = bits[parent[i]].copy()
        if i % 3:
            noise = generator.normal(0, 0.5 * step if i % 3 == 1 else 0, SIDE**2)
            thumbnails[i] = (thumbnails[parent[i]] + noise).clip(0, 255)
            changed[8:] ^= 1
            changed[:8, 8:] ^= 1
        width = 16 if i % 3 == 0 else 8
        for bit in generator.permutation(width**2)[: {0: step, 1: 0, 2: step // 3}[i % 3]]:
            changed[divmod(bit, width)] ^= 1
        bits[i] = changed
    thumbnails[parent[60]] = 128  # as that of thin lines
    flat = 61
    packed = np.packbits(bits.reshape(100, -1), axis=1)
    hashes = [
        ImageHashes(
            bytes([i]), *(() if i == flat else (packed[i].tobytes(), thumbnails[i].tobytes()))
        )
        for i in range(100)
    ]

    def similar(i: int, j: int) -> bool:
        differ = bits[i] != bits[j]
        constant = np.ptp(thumbnails[i]) == 0
        like = 0 if constant else np.corrcoef(thumbnails[i], thumbnails[j])[0, 1]
        return differ.sum() <= MAX_DISTANCE or (
            differ[:8, :8].sum() <= MAX_LOW_DISTANCE and like >= MIN_CORRELATION
        )

    expected = [[i, j] for j in range(60, 100) if j != flat for i in range(60) if similar(i, j)]
    (found,) = find_near_duplicates(hashes, [np.arange(60), np.arange(60, 100)])
    assert found.similar.tolist() == expected
    for way in range(3):
        steps = [j - 60 for _, j in expected if j % 3 == way]
        assert 3 < len(steps) < 11
