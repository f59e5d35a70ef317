"""Draw whole groups of images so that every class comes near its share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Names = Sequence[Hashable | None]
"""(N,) the name of each image's group; None: an image alone."""


class UncoveredError(Exception):
    """Every group with images of this class is needed elsewhere for another class."""

    def __init__(self, label: int) -> None:
        super().__init__(label)
        self.label = label


class Groups:
    """Images that go together: an image without a group is a group of one.

    Args:
        labels: (N,) the class of each image, 0 … C-1.
        names: (N,) the names of the groups; None, or a None in it: an image alone.
        classes: C.

    Attributes:
        of: (N,) the group of each image, 0 … G-1 in order of first appearance.
        size: (G,) images.
        largest: images of the largest group; 0 without images.
        cells: (group, class, images) of each group's classes, three arrays, by group.
        content: (G,) the same in lists: the classes of each group with their images.
        main: (G,) the class of most of the group's images.
        per_class: (C,) groups that hold images of the class.
    """

    def __init__(self, labels: Indices, names: Names | None, classes: int) -> None:
        if names is not None and len(names) != len(labels):
            raise ValueError(f"{len(names)} groups for {len(labels)} images")
        self.of = np.arange(len(labels)) if names is None else _numbered(names)
        keys, images = np.unique(self.of * classes + labels, return_counts=True)
        self.cells = keys // classes, keys % classes, images
        self.per_class = np.bincount(self.cells[1], minlength=classes)
        self.size: list[int] = np.bincount(self.of).tolist()
        self.largest = max(self.size, default=0)
        self.content: list[list[tuple[int, int]]] = [[] for _ in self.size]
        for g, label, n in zip(*(part.tolist() for part in self.cells), strict=True):
            self.content[g].append((label, n))
        self.main = [max(cells, key=lambda cell: cell[1])[0] for cells in self.content]

    def images(self, chosen: Iterable[int]) -> Indices:
        """Positions of the images of these groups, sorted."""
        mask = np.zeros(len(self.size), dtype=bool)
        mask[list(chosen)] = True
        return np.flatnonzero(mask[self.of])


def _numbered(names: Names) -> Indices:
    numbers: dict[Hashable, int] = {}
    keys = ((i,) if name is None else ("group", name) for i, name in enumerate(names))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def shares(counts: Indices, total: int, limits: Indices, least: Indices | int = 1) -> Indices:
    """Part `total` in proportion to `counts`, each part at least `least` and at most its limit."""
    exact = counts * (total / counts.sum())
    parts = np.clip(np.floor(exact).astype(np.int64), least, limits)
    while parts.sum() != total:
        step = 1 if parts.sum() < total else -1
        room = parts < limits if step == 1 else parts > least
        parts[np.where(room, step * (exact - parts), -np.inf).argmax()] += step
    return parts


def draw(
    groups: Groups,
    free: Sequence[int],
    quotas: Indices,
    within: tuple[float, float],
    *,
    keep: int = 0,
    need: Sequence[int] | None = None,
    first: Sequence[int] = (),
) -> list[int]:
    """Choose groups so that each class has about its quota of images.

    The groups come in one order that does not depend on the quotas, and each class takes its next
    group as long as that brings it nearer to its quota: larger quotas choose the same groups and
    more. With groups of one class each, every class is then within half the largest group of its
    quota. If all images together are not `within` the bounds, or a class is further off than half
    the bounds' distance, groups are added and removed as far as that helps. If the groups that
    the classes need are too many images, it begins anew with the smallest.

    Args:
        groups: the groups.
        free: the groups to choose from, in a random order.
        quotas: (C,) images wanted.
        within: the fewest and the most images that may be missing in all.
        keep: so many groups of each class stay free.
        need: (C,) so many groups of each class are chosen at least; None: one.
        first: the classes to serve first, because others take what they need; then the rarest.

    Returns:
        The chosen groups, in the order of `free`.

    Raises:
        UncoveredError: a class cannot have its groups.
    """
    need = [1] * len(quotas) if need is None else need
    order = _sequence(groups, free)
    for frugal in (False, True):
        hand = _Hand(groups, order, quotas, keep, need)
        for label in (*first, *np.argsort(groups.per_class, kind="stable").tolist()):
            hand.cover(label, frugal)
        hand.fill()
        hand.settle(*within)
        if hand.missing >= within[0]:
            break
    return [g for g in free if hand.chosen[g]]


class _Hand:
    """The groups chosen so far.

    Attributes:
        order: the groups to choose from, in the order in which they are tried.
        chosen: (G,) whether each group is.
        lack: (C,) images that are missing from the quotas; negative: too many.
        missing: the sum of `lack`.
        holders: (C,) the groups in `order` that hold images of the class.
        have: (C,) chosen groups that hold the class.
        left: (C,) free groups that hold the class.
    """

    def __init__(
        self,
        groups: Groups,
        order: list[int],
        quotas: Indices,
        keep: int,
        need: Sequence[int],
    ) -> None:
        self.groups, self.order, self.keep, self.need = groups, order, keep, need
        self.chosen = [False] * len(groups.size)
        self.lack: list[int] = quotas.tolist()
        self.missing = sum(self.lack)
        self.have = [0] * len(quotas)
        self.holders: list[list[int]] = [[] for _ in self.lack]
        for g in order:
            for label, _ in groups.content[g]:
                self.holders[label].append(g)
        self.left = [len(holders) for holders in self.holders]

    def move(self, g: int) -> None:
        """Choose a free group, or put a chosen one back."""
        sign = -1 if self.chosen[g] else 1
        self.chosen[g] = sign == 1
        self.missing -= sign * self.groups.size[g]
        for label, n in self.groups.content[g]:
            self.lack[label] -= sign * n
            self.have[label] += sign
            self.left[label] -= sign

    def may_choose(self, g: int) -> bool:
        cells = self.groups.content[g]
        return not self.chosen[g] and all(self.left[label] > self.keep for label, _ in cells)

    def gain(self, g: int) -> int:
        """How much nearer the group would bring its classes to their quotas, in squares."""
        return sum(n * (2 * self.lack[label] - n) for label, n in self.groups.content[g])

    def price(self, g: int) -> float:
        """Images for each class that the group brings and that still needs one."""
        cells = self.groups.content[g]
        return self.groups.size[g] / sum(self.have[label] < self.need[label] for label, _ in cells)

    def cover(self, label: int, frugal: bool) -> None:
        """Choose as many groups of the class as it needs: the first that help, or the cheapest."""
        while self.have[label] < self.need[label]:
            free = filter(self.may_choose, self.holders[label])
            best = None if frugal else next((g for g in free if self.gain(g) > 0), None)
            if best is None:
                left = list(filter(self.may_choose, self.holders[label]))
                if not left:
                    raise UncoveredError(label)
                best = min(left, key=self.price) if frugal else max(left, key=self.gain)
            self.move(best)

    def fill(self) -> None:
        """Choose each group that helps; the first that does not ends its main class."""
        ended = [False] * len(self.lack)
        for g in self.order:
            main = self.groups.main[g]
            if ended[main] or self.chosen[g]:
                continue
            ended[main] = self.gain(g) <= 0
            if not ended[main] and self.may_choose(g):
                self.move(g)

    def settle(self, low: float, high: float) -> None:
        """Move the group that helps most, in or out, while something is out of bounds."""
        slack = (high - low) / 2
        rank = np.full(len(self.chosen), -1)
        rank[self.order] = np.arange(len(self.order))
        group, label, images = self.groups.cells
        starts = np.searchsorted(group, np.arange(len(self.chosen)))
        while not low <= self.missing <= high or max(map(abs, self.lack)) > slack:
            back = np.array(self.chosen)
            n, lack = np.where(back[group], -images, images), np.array(self.lack)[label]
            size = np.add.reduceat(n, starts)
            total = _outside(self.missing - size, low, high) - _outside(self.missing, low, high)
            cells = _outside(lack - n, -slack, slack) - _outside(lack, -slack, slack)
            classes = np.add.reduceat(cells, starts)
            squares = np.add.reduceat(n * (n - 2 * lack), starts) + size * (size - 2 * self.missing)
            spare = np.greater(self.have, self.need), np.greater(self.left, self.keep)
            possible = np.where(back[group], *(part[label] for part in spare))
            helps = np.logical_and.reduceat(possible, starts) & (rank >= 0)
            helps &= (total < 0) | (total == 0) & (classes < 0)
            if not helps.any():
                return
            # Of equals the nearest to where `fill` stopped: next in, last out.
            near = np.where(back, -rank, rank)
            helpful = np.flatnonzero(helps)
            order = np.lexsort([part[helpful] for part in (near, squares, classes, total)])
            self.move(int(helpful[order[0]]))


def _outside(value: NDArray[np.int64] | int, low: float, high: float) -> NDArray[np.float64]:
    """The square of how far outside the bounds."""
    return np.maximum(0.0, np.maximum(value - high, low - np.asarray(value))) ** 2


def _sequence(groups: Groups, free: Sequence[int]) -> list[int]:
    """The groups in an order of which every part has about the same mixture of classes."""
    alone = [g for g in free if groups.size[g] == 1]
    if len(alone) == len(free):
        return alone
    several = _halved(groups, [g for g in free if groups.size[g] > 1], 8)
    ranked = [((i + 0.5) / len(part), g) for part in (several, alone) for i, g in enumerate(part)]
    return [g for _, g in sorted(ranked)]


def _halved(groups: Groups, order: list[int], depth: int) -> list[int]:
    """First one half, then the other, that balance each other; and so on within each half."""
    if depth == 0 or len(order) < 2:
        return order
    ahead: dict[int, int] = {}
    halves: tuple[list[int], list[int]] = ([], [])
    total = 0
    for g in order:
        cells, size = groups.content[g], groups.size[g]
        second = sum(ahead.get(label, 0) * n for label, n in cells) + total * size > 0
        halves[second].append(g)
        sign = -1 if second else 1
        total += sign * size
        for label, n in cells:
            ahead[label] = ahead.get(label, 0) + sign * n
    return _halved(groups, halves[0], depth - 1) + _halved(groups, halves[1], depth - 1)
