"""Find all pairs of images that look nearly the same, in a time close to linear.

Two hashes that differ in few bits have a part in which they differ in one bit at most (pigeonhole
principle). So each hash is compared only with those that share such a part with it: multi-index
hashing (Norouzi, Punjani and Fleet 2012, https://arxiv.org/abs/1307.2982).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.near_duplicates.image_hashes import SIDE
from revo_ray.data.table.threads import in_order

Indices = NDArray[np.int64]
Pairs = NDArray[np.int64]
"""(P, 2) positions of two images, the first of which is lower."""

Thumbnails = Callable[[Indices], NDArray[np.uint8]]
"""Returns the thumbnails (n, SIDE²) of the images at n positions."""

MAX_DISTANCE = 20
"""Highest number of the SIDE² bits that differ between similar images."""

MAX_LOW_DISTANCE, MIN_CORRELATION = 6, 0.995
"""Second rule for smooth images, whose higher frequencies are noise.

Two images are similar too if at most so many of the lowest (SIDE / 2)² bits differ and their
thumbnails correlate at least so much.

After JPEG at quality 80, a tenth smaller and a tenth brighter, both rules together find 99 % of
400 cuts of photographs and 67 % of 200 smooth images; the rest had parts that became plain white.
Among all pairs of Fashion-MNIST images 12 in 100 million are similar, most of them one article in
two colours; among all pairs of scikit-learn's digits none.
"""

BLOCK = 2**14
"""Number of pairs that are compared at once."""

_LOW = np.outer(np.arange(SIDE) < SIDE // 2, np.arange(SIDE) < SIDE // 2).ravel()
"""(SIDE²,) whether each bit of a hash belongs to the lowest (SIDE / 2)² frequencies."""

_Words = NDArray[np.uint64]


def find_similar(
    perceptual: NDArray[np.uint8],
    thumbnails: Thumbnails,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Pairs]:
    """Yield all pairs of similar images, each once, in blocks.

    Memory holds a few blocks, and some numbers for each image.

    Args:
        perceptual: (N, SIDE² / 8) perceptual hashes.
        thumbnails: returns thumbnails of these images.
        progress: called with the parts of the work that are done, and all.
    """
    if len(perceptual) < 2:
        return
    low, words = _words(perceptual)
    rules = [(words, MAX_DISTANCE), (low, MAX_LOW_DISTANCE)]
    parts = [_parts(len(each) * 64, most) for each, most in rules]
    total, done = sum(bits + 1 for rule in parts for _, bits in rule), 0
    for rule, ((hashes, most), cut) in enumerate(zip(rules, parts, strict=True)):
        for number in range(len(cut)):
            near = _near(hashes, cut, number, most)
            if rule == 0:
                yield from near
            for pairs in _gathered(near):
                # The first rule has told those that it knows.
                new = _distance(words[:, pairs[:, 0]], words[:, pairs[:, 1]]) > MAX_DISTANCE
                yield _alike(pairs[new], thumbnails)
            done += cut[number][1] + 1
            if progress is not None:
                progress(done, total)


def _gathered(blocks: Iterator[Pairs]) -> Iterator[Pairs]:
    """Join blocks to larger ones, for which fewer thumbnails are read twice."""
    waiting: list[Pairs] = []
    for pairs in blocks:
        waiting.append(pairs)
        if sum(map(len, waiting)) >= 2**13:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _words(perceptual: NDArray[np.uint8]) -> tuple[_Words, _Words]:
    """The low bits (1, N) and all bits (SIDE² / 64, N) of hashes as words.

    The order of all bits is such that each part of a hash has bits of all frequencies.
    """
    spread = np.arange(SIDE**2).reshape(SIDE, SIDE).T.ravel()
    low = np.empty((len(perceptual), SIDE**2 // 32), np.uint8)
    every = np.empty((len(perceptual), SIDE**2 // 8), np.uint8)
    for start in range(0, len(perceptual), 2**12):
        part = slice(start, start + 2**12)
        bits = np.unpackbits(perceptual[part], axis=1)
        low[part], every[part] = (np.packbits(bits[:, at], axis=1) for at in (_LOW, spread))
    return low.view(np.uint64).T.copy(), every.view(np.uint64).T.copy()


def _parts(length: int, most: int) -> list[tuple[int, int]]:
    """Cut a hash into parts, of which two hashes within `most` bits share one up to one bit.

    Returns:
        First bit and number of bits of each part.
    """
    ends = np.linspace(0, length, most // 2 + 2).round().astype(int).tolist()
    return [(begin, end - begin) for begin, end in pairwise(ends)]


def _near(hashes: _Words, cut: list[tuple[int, int]], number: int, most: int) -> Iterator[Pairs]:
    """Yield pairs within `most` bits that differ in at most one bit of one part, and not before."""
    keys = _part(hashes, *cut[number])
    order = np.argsort(keys, kind="stable")
    hashes, keys = hashes[:, order], keys[order]

    def compare(candidates: tuple[Indices, Indices]) -> Pairs:
        first, second = candidates
        near = _distance(hashes[:, first], hashes[:, second]) <= most
        first, second = first[near], second[near]
        for part in cut[:number]:
            new = np.bitwise_count(_part(hashes, *part, first) ^ _part(hashes, *part, second)) > 1
            first, second = first[new], second[new]
        pairs = np.stack([order[first], order[second]], axis=1)
        pairs.sort(axis=1)
        return pairs

    with closing(in_order(compare, _candidates(keys, cut[number][1]))) as found:
        yield from (pairs for pairs in found if len(pairs))


def _candidates(keys: NDArray[np.uint32], bits: int) -> Iterator[tuple[Indices, Indices]]:
    """Yield all pairs of positions whose sorted keys differ in at most one bit, in blocks."""
    ends = np.searchsorted(keys, keys, side="right")
    yield from _expand(np.arange(1, len(keys) + 1), ends)
    there = np.zeros(1 << bits, bool)
    there[keys] = True
    for bit in range(bits):
        other = keys ^ np.uint32(1 << bit)
        rows = np.flatnonzero((other > keys) & there[other])
        begin = np.searchsorted(keys, other[rows])
        yield from _expand(begin, ends[begin], rows)


def _expand(
    begin: Indices, end: Indices, rows: Indices | None = None
) -> Iterator[tuple[Indices, Indices]]:
    """Yield each row with each number from its begin to its end, in blocks."""
    if rows is None:
        rows = np.arange(len(begin))
    totals = np.cumsum(end - begin)
    start = 0
    while start < len(rows):
        before = int(totals[start - 1]) if start else 0
        stop = max(int(np.searchsorted(totals, before + BLOCK, side="right")), start + 1)
        counts = (end - begin)[start:stop]
        if counts.any():
            first = np.repeat(rows[start:stop], counts)
            shift = np.repeat(begin[start:stop] - (totals[start:stop] - counts) + before, counts)
            yield first, np.arange(len(first)) + shift
        start = stop


def _part(
    hashes: _Words, begin: int, bits: int, at: Indices | slice = slice(None)
) -> NDArray[np.uint32]:
    """The numbers that some bits of the hashes at these positions are."""
    word, place = divmod(begin, 64)
    part = hashes[word, at] >> np.uint64(place)
    if place + bits > 64:
        part |= hashes[word + 1, at] << np.uint64(64 - place)
    return (part & np.uint64((1 << bits) - 1)).astype(np.uint32)


def _distance(first: _Words, second: _Words) -> NDArray[np.uint16]:
    """Number of bits (n,) that differ between each two hashes (W, n)."""
    counts = np.bitwise_count(first ^ second).astype(np.uint16)
    return np.add.reduce(counts, axis=0)


def _alike(pairs: Pairs, thumbnails: Thumbnails) -> Pairs:
    """The pairs whose thumbnails correlate enough."""
    if not len(pairs):
        return pairs
    images, places = np.unique(pairs, return_inverse=True)
    # Products of 8-bit levels are integers below 2^24, which float32 adds without rounding.
    levels = thumbnails(images).astype(np.float32)
    total = levels.sum(axis=1, dtype=np.float64)
    spread = np.einsum("ij,ij->i", levels, levels) - total**2 / SIDE**2
    length = np.sqrt(np.maximum(spread, 1))  # thin lines may vanish in a thumbnail
    coarse = levels.reshape(-1, 4, SIDE // 4, 4, SIDE // 4).sum(axis=(2, 4)).reshape(-1, 16)
    coarse = (coarse - total[:, None] / 16) / (length[:, None] * SIDE / 4)

    def compare(part: Pairs) -> NDArray[np.bool_]:
        # A correlation of r is a distance of (2 - 2r)^½, which is less in any projection.
        apart = coarse[part[:, 0]] - coarse[part[:, 1]]
        alike = np.einsum("ij,ij->i", apart, apart) <= 2 - 2 * MIN_CORRELATION + 1e-6
        i, j = part[alike].T
        together = np.einsum("ij,ij->i", levels[i], levels[j])
        correlation = (together - total[i] * total[j] / SIDE**2) / (length[i] * length[j])
        alike[alike] = correlation >= MIN_CORRELATION
        return alike

    places = places.reshape(-1, 2)
    parts = np.split(places, range(2**13, len(places), 2**13))
    with closing(in_order(compare, parts)) as found:
        return pairs[np.concatenate(list(found))]
