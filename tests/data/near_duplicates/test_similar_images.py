"""Duplicates: all that are there, none that are not, and those that a user would call the same."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits, load_sample_images

from revo_ray.data.files.decode import square
from revo_ray.data.near_duplicates.image_hashes import SIDE, ImageHashes
from revo_ray.data.near_duplicates.policy import across_splits
from revo_ray.data.near_duplicates.similar_images import (
    MAX_DISTANCE,
    MAX_LOW_DISTANCE,
    MIN_CORRELATION,
    find_similar,
)
from tests.data.near_duplicates.hashed import find_near_duplicates


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
    splits = {"train": split[: len(first)], "validation": split[len(first) :]}
    with TemporaryDirectory() as folder:
        near_duplicates = find_near_duplicates(hashes, Path(folder))
        found = across_splits(near_duplicates, splits | {"test": split[:0]})[0]
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


def brute_force(
    perceptual: NDArray[np.uint8], thumbnails: NDArray[np.uint8]
) -> set[tuple[int, int]]:
    """Both rules, pair by pair of blocks of rows."""
    bits = np.unpackbits(perceptual, axis=1).astype(np.float32)
    low = bits.reshape(-1, SIDE, SIDE)[:, :8, :8].reshape(len(bits), -1)
    centred = thumbnails - thumbnails.mean(axis=1, keepdims=True, dtype=np.float64)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    found: set[tuple[int, int]] = set()

    def apart(which: NDArray[np.float32], rows: slice) -> NDArray[np.float32]:
        signs = 2 * which - 1
        return (which.shape[1] - signs[rows] @ signs.T) / 2

    for start in range(0, len(bits), 500):
        rows = slice(start, start + 500)
        like = apart(bits, rows) <= MAX_DISTANCE
        i, j = np.nonzero(apart(low, rows) <= MAX_LOW_DISTANCE)
        alike = np.einsum("ij,ij->i", centred[start + i], centred[j]) >= MIN_CORRELATION
        like[i[alike], j[alike]] = True
        pairs = ((start + int(a), int(b)) for a, b in np.argwhere(like))
        found |= {(a, b) for a, b in pairs if a < b}
    return found


def found_similar(
    perceptual: NDArray[np.uint8], thumbnails: NDArray[np.uint8]
) -> set[tuple[int, int]]:
    blocks = list(find_similar(perceptual, thumbnails.__getitem__))
    pairs = [tuple(pair) for block in blocks for pair in block.tolist()]
    assert len(pairs) == len(set(pairs))
    return set(pairs)


def real_hashes(count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Hashes of cuts of photographs and of digits, a fifth of them worked on again."""
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    digits = load_digits().images
    rng = np.random.default_rng(seed)
    made: list[ImageHashes] = []
    while len(made) < count:
        if rng.random() < 0.2:
            shown = digits[rng.integers(len(digits))] * 15
            image = Image.fromarray(shown.astype(np.uint8)).convert("RGB")
        else:
            side, photograph = int(rng.integers(40, 400)), photographs[rng.integers(2)]
            left = int(rng.integers(0, photograph.width - side))
            top = int(rng.integers(0, photograph.height - side))
            image = photograph.crop((left, top, left + side, top + side)).resize((96, 96))
        made.append(hashes_of(image))
        if rng.random() < 0.2:
            worked_on = brighter(image) if rng.random() < 0.5 else image.resize((70, 70))
            made.append(hashes_of(reencoded(worked_on, "JPEG", quality=int(rng.integers(30, 90)))))
    chosen = [each for each in made[:count] if each.perceptual]
    return (
        np.array([list(each.perceptual) for each in chosen], np.uint8),
        np.array([list(each.thumbnail) for each in chosen], np.uint8),
    )


@pytest.mark.parametrize(
    "count", [1000, pytest.param(20_000, marks=[pytest.mark.nightly, pytest.mark.timeout(600)])]
)
def test_the_pairs_are_those_of_brute_force(count: int) -> None:
    hashes = real_hashes(count)
    found = found_similar(*hashes)
    assert found == brute_force(*hashes)
    assert len(found) > count / 20


@pytest.mark.parametrize("distance", [0, 1, MAX_DISTANCE - 1, MAX_DISTANCE, MAX_DISTANCE + 1])
def test_pairs_at_the_limit_are_found_whichever_bits_differ(distance: int) -> None:
    """Also if as many as may be differ in each part that is compared."""
    rng = np.random.default_rng(distance)
    bits = rng.integers(0, 2, (400, SIDE**2), dtype=np.uint8)
    for i in range(200):
        bits[200 + i] = bits[i]
        bits[200 + i, rng.permutation(SIDE**2)[:distance]] ^= 1
    packed = np.packbits(bits, axis=1)
    thumbnails = rng.integers(0, 256, (400, SIDE**2), dtype=np.uint8)
    expected = {(i, 200 + i) for i in range(200)} if distance <= MAX_DISTANCE else set()
    assert found_similar(packed, thumbnails) == expected


def test_many_frames_of_a_film_are_all_pairs() -> None:
    """Every part of the hashes is a crowded one, and blocks are full."""
    rng = np.random.default_rng(0)
    bits = np.tile(rng.integers(0, 2, SIDE**2, dtype=np.uint8), (700, 1))
    flip = rng.integers(0, SIDE**2, (700, 3))
    bits[np.arange(700)[:, None], flip] ^= 1
    thumbnails = np.zeros((700, SIDE**2), np.uint8)
    found = found_similar(np.packbits(bits, axis=1), thumbnails)
    assert len(found) == 700 * 699 // 2


def test_thin_lines_that_vanish_in_a_thumbnail_are_alike_by_their_bits_alone() -> None:
    bits = np.zeros((2, SIDE**2), np.uint8)
    bits[1, -40:] = 1  # no low ones
    assert found_similar(np.packbits(bits, axis=1), np.full((2, SIDE**2), 9, np.uint8)) == set()
    assert found_similar(np.zeros((2, 32), np.uint8), np.full((2, 256), 9, np.uint8)) == {(0, 1)}


def test_progress_ends_with_all_of_the_work() -> None:
    seen: list[tuple[int, int]] = []
    perceptual, thumbnails = real_hashes(50)
    list(find_similar(perceptual, thumbnails.__getitem__, lambda *done: seen.append(done)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_ten_times_the_hashes_cost_at_most_fifteen_times_the_time() -> None:
    perceptual, thumbnails = real_hashes(20_000)
    rng = np.random.default_rng(1)
    seconds = []
    for copies in (1, 10):
        # The same parts are as common as among real hashes; each copy is 64 bits or so apart.
        shift = np.repeat(
            np.packbits(rng.random((copies, SIDE**2)) < 0.25, axis=1), len(perceptual), axis=0
        )
        many = np.tile(perceptual, (copies, 1)) ^ shift
        started = time.process_time()
        small = np.tile(thumbnails, (copies, 1))
        for _ in find_similar(many, small.__getitem__):
            pass
        seconds.append(time.process_time() - started)
    assert seconds[1] <= 15 * seconds[0]
