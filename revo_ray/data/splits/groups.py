"""Groups: images that must not be parted, such as those of one patient."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
GroupNames = Sequence[Hashable | None]
"""(N,) name of each image's group; an image whose group is None stands alone."""


class Groups:
    """Images in groups; an image that stands alone is a group of one.

    Args:
        labels: (N,) class of each image, 0 … C-1.
        names: (N,) group of each image; None if every image stands alone.
        classes: C.

    Attributes:
        of: (N,) group of each image, 0 … G-1 in order of first appearance.
        size: (G,) number of images in each group.
        largest: number of images in the largest group; 0 without images.
        cells: group, class and number of images for each class in each group: three arrays,
            sorted by group.
        starts: (G,) index into `cells` of the first cell of each group.
        content: (G,) each group's cells as pairs of class and number of images.
        main: (G,) most frequent class of each group.
        per_class: (C,) number of groups that hold images of each class.
    """

    def __init__(self, labels: Indices, names: GroupNames | None, classes: int) -> None:
        if names is not None and len(names) != len(labels):
            raise ValueError(f"{len(names)} groups for {len(labels)} images")
        self.of = np.arange(len(labels)) if names is None else _numbered(names)
        keys, images = np.unique(self.of * classes + labels, return_counts=True)
        self.cells = keys // classes, keys % classes, images
        self.per_class = np.bincount(self.cells[1], minlength=classes)
        self.size: list[int] = np.bincount(self.of).tolist()
        self.starts = np.searchsorted(self.cells[0], np.arange(len(self.size)))
        self.largest = max(self.size, default=0)
        self.content: list[list[tuple[int, int]]] = [[] for _ in self.size]
        for g, label, n in zip(*(part.tolist() for part in self.cells), strict=True):
            self.content[g].append((label, n))
        self.main = [max(cells, key=lambda cell: cell[1])[0] for cells in self.content]

    def images(self, chosen: Iterable[int]) -> Indices:
        """Sorted positions of the images in the chosen groups."""
        mask = np.zeros(len(self.size), dtype=bool)
        mask[list(chosen)] = True
        return np.flatnonzero(mask[self.of])


def _numbered(names: GroupNames) -> Indices:
    numbers: dict[Hashable, int] = {}
    keys = ((i,) if name is None else ("group", name) for i, name in enumerate(names))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
