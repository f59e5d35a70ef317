"""Near-duplicates: images with the same pixels, and images that look nearly the same."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.image_records import Record
from revo_ray.data.near_duplicates.similar_images import Indices, Pairs, Thumbnails, find_similar
from revo_ray.data.table.disk import filling, replacing
from revo_ray.data.table.survey import Hashes
from revo_ray.words import spreadsheet_cell

LISTED = (
    *("first", "second", "kind"),
    *("first_split", "second_split", "first_label", "second_label"),
)
"""Columns of a list of near-duplicates. A kind is `same` or `similar`."""

_BLOCK = 2**18
"""Number of pairs that are read at once."""


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Near-duplicates among N images.

    Attributes:
        first: (N,) position of the first image by name that has the same pixels.
        rank: (N,) place of each image among all names.
    """

    first: Indices
    rank: Indices
    _path: Path

    @classmethod
    def find(
        cls,
        names: Sequence[str],
        hashes: Hashes,
        thumbnails: Thumbnails,
        path: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> NearDuplicates:
        """Find the near-duplicates among images, or read the pairs that were found before.

        Args:
            names: (N,) names of the images.
            hashes: hashes of the images.
            thumbnails: returns thumbnails of the images.
            path: path of a file for the pairs, which may be more than memory holds.
            progress: called with the parts of the work that are done, and all.
        """
        order = np.argsort(np.array(names, object), kind="stable")
        rank = np.argsort(order)
        _, same = np.unique(hashes.pixels, return_inverse=True)
        lowest = np.full(len(names), len(names))
        np.minimum.at(lowest, same.ravel(), rank)
        first = order[lowest[same.ravel()]]
        distinct = np.flatnonzero((first == np.arange(len(first))) & ~hashes.flat)
        key = hashlib.sha256()
        for part in (hashes.pixels, hashes.perceptual, order):
            key.update(part.data)
        near_duplicates = cls(first, rank, path)
        if not near_duplicates._holds(key.digest()):
            perceptual = hashes.perceptual[distinct]
            small = partial(_of, thumbnails, distinct)
            with replacing(path) as temporary, temporary.open("wb") as file:
                file.write(key.digest())
                for pairs in find_similar(perceptual, small, progress):
                    file.write(distinct[pairs].astype(np.int32).tobytes())
        return near_duplicates

    def similar(self) -> Iterator[Pairs]:
        """Yield the pairs (P, 2) of distinct images that look nearly the same, in blocks."""
        with self._path.open("rb") as file:
            file.seek(32)
            while len(block := np.fromfile(file, np.int32, 2 * _BLOCK)):
                yield block.reshape(-1, 2).astype(np.int64)

    def join(
        self,
        own: Indices,
        sides: Indices | None = None,
        only_copies: NDArray[np.bool_] | None = None,
    ) -> Indices:
        """Number (N,) of each image's cluster: the closure of the relation.

        Args:
            own: (N,) position of an image that each stays with anyway.
            sides: (N,) 0 … 2; near-duplicates of different sides do not count.
            only_copies: (N,) images whose similar near-duplicates do not count.
        """
        everyone = np.arange(len(self.first))
        sides = np.zeros_like(everyone) if sides is None else sides
        stands_for = np.full((3, len(everyone)), -1)  # the same picture on each side
        stands_for[sides, self.first] = everyone
        copies = np.stack([stands_for[sides, self.first], everyone], axis=1)
        cluster = _components(own, copies)
        for pairs in self.similar():
            for side in stands_for:
                on_side = side[pairs]
                on_side = on_side[(on_side >= 0).all(axis=1)]
                if only_copies is not None:
                    on_side = on_side[~only_copies[on_side].any(axis=1)]
                if len(on_side):
                    cluster = _components(cluster, on_side)
        return cluster

    def write(self, path: Path, records: Sequence[Record], splits: Sequence[str]) -> None:
        """List all pairs in a csv file: copies with the first of them, by name, and similar ones.

        Args:
            path: path of the file.
            records: (N,) records of the images.
            splits: (N,) name of each image's split.
        """
        with (
            filling(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            out = csv.writer(file)
            out.writerow(LISTED)

            def list_pairs(kind: str, pairs: Pairs) -> None:
                for pair in pairs.tolist():
                    i, j = sorted(pair, key=self.rank.__getitem__)
                    a, b = records[i], records[j]
                    row = [a.name, b.name, kind, splits[i], splits[j], a.label, b.label]
                    out.writerow(map(spreadsheet_cell, row))

            copies = np.flatnonzero(self.first != np.arange(len(self.first)))
            copies = copies[np.argsort(self.rank[copies])]
            list_pairs("same", np.stack([self.first[copies], copies], axis=1))
            for pairs in self.similar():
                list_pairs("similar", pairs)

    def _holds(self, key: bytes) -> bool:
        """Whether the file has the pairs of these images."""
        try:
            with self._path.open("rb") as file:
                return file.read(32) == key
        except OSError:
            return False


def _of(thumbnails: Thumbnails, images: Indices, positions: Indices) -> NDArray[np.uint8]:
    return thumbnails(images[positions])


def _components(cluster: Indices, pairs: Pairs) -> Indices:
    """Join the clusters of each two images."""
    from scipy.sparse import coo_array  # not at the top: a worker that trains needs no SciPy
    from scipy.sparse.csgraph import connected_components

    count = len(cluster)
    edges = cluster[pairs]
    ones = np.ones(len(edges), np.int8)
    graph = coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)[cluster]
