"""Choose whole groups of images so that every class comes near its share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.splits.groups import Groups, Indices


class UncoveredError(Exception):
    """No group is left for a class, because other classes need all groups that hold it."""

    def __init__(self, label: int) -> None:
        super().__init__(label)
        self.label = label


def shares(counts: Indices, total: int, limits: Indices, least: Indices | int = 1) -> Indices:
    """Part `total` in proportion to `counts`, each part at least `least` and at most its limit."""
    exact = counts * (total / counts.sum())
    parts = np.clip(np.floor(exact).astype(np.int64), least, limits)
    while parts.sum() != total:
        step = 1 if parts.sum() < total else -1
        room = parts < limits if step == 1 else parts > least
        parts[np.where(room, step * (exact - parts), -np.inf).argmax()] += step
    return parts


def choose_groups(
    groups: Groups,
    free: Sequence[int],
    quotas: Indices,
    bounds: tuple[float, float],
    *,
    keep: int = 0,
    need: Sequence[int] | None = None,
    first: Sequence[int] = (),
) -> list[int]:
    """Choose groups so that each class has about its quota of images.

    The order of the groups does not depend on the quotas, and each class takes its next group as
    long as that brings it nearer to its quota. So larger quotas choose the same groups and more.
    If each group has one class, every class ends within half the largest group of its quota.

    If the number of missing images is then out of `bounds`, or a class is further off than half
    the distance between them, groups are added and removed as long as that helps. If the groups
    that the classes need hold too many images, the choice starts anew with the smallest groups.

    Args:
        groups: all groups.
        free: groups to choose from, in a random order.
        quotas: (C,) images wanted of each class.
        bounds: lowest and highest number of images that may be missing in all.
        keep: number of groups of each class that must stay free.
        need: (C,) lowest number of groups to choose of each class; None for one of each.
        first: classes to serve before all others; then the rarest class is served first.

    Returns:
        The chosen groups, in the order of `free`.

    Raises:
        UncoveredError: a class cannot have the groups that it needs.
    """
    need = [1] * len(quotas) if need is None else need
    order = _mixed_order(groups, free)
    for frugal in (False, True):
        choice = _Choice(groups, order, quotas, keep, need)
        for label in (*first, *np.argsort(groups.per_class, kind="stable").tolist()):
            choice.cover(label, frugal)
        choice.fill()
        choice.balance(*bounds)
        if choice.missing >= bounds[0]:
            break
    return [g for g in free if choice.chosen[g]]


class _Choice:
    """Groups chosen so far.

    Attributes:
        order: groups to choose from, in the order of trying.
        rank: (G,) place of each group in `order`; -1 for groups that are not in it.
        chosen: (G,) whether each group is chosen.
        lack: (C,) images that each class lacks of its quota; negative if it has too many.
        missing: sum of `lack`.
        holders: (C,) groups in `order` that hold each class.
        have: (C,) number of chosen groups that hold each class.
        left: (C,) number of free groups that hold each class.
    """

    def __init__(
        self, groups: Groups, order: list[int], quotas: Indices, keep: int, need: Sequence[int]
    ) -> None:
        self.groups, self.order, self.keep, self.need = groups, order, keep, need
        self.rank = np.full(len(groups.size), -1)
        self.rank[order] = np.arange(len(order))
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
        """Choose a free group, or free a chosen one."""
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
        """The amount by which the group lowers the sum of squared distances to the quotas."""
        return sum(n * (2 * self.lack[label] - n) for label, n in self.groups.content[g])

    def price(self, g: int) -> float:
        """Images of the group for each of its classes that still needs a group."""
        cells = self.groups.content[g]
        return self.groups.size[g] / sum(self.have[label] < self.need[label] for label, _ in cells)

    def cover(self, label: int, frugal: bool) -> None:
        """Choose as many groups of a class as it needs: the first that help, or the cheapest."""
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
        """Choose each group that helps; a main class ends at the first group that does not."""
        ended = [False] * len(self.lack)
        for g in self.order:
            main = self.groups.main[g]
            if ended[main] or self.chosen[g]:
                continue
            ended[main] = self.gain(g) <= 0
            if not ended[main] and self.may_choose(g):
                self.move(g)

    def balance(self, low: float, high: float) -> None:
        """Add and remove groups while a count is out of bounds and a move helps."""
        slack = (high - low) / 2
        while not low <= self.missing <= high or max(map(abs, self.lack)) > slack:
            best = self._best_move(low, high, slack)
            if best is None:
                return
            self.move(best)

    def _best_move(self, low: float, high: float, slack: float) -> int | None:
        """Find the group to add or remove that helps most; None if no move helps.

        A move helps if it brings the number of missing images nearer to its bounds, or leaves its
        distance as it is and brings the classes nearer to theirs.
        """
        group, label, images = self.groups.cells
        starts = self.groups.starts
        chosen = np.array(self.chosen)
        n, lack = np.where(chosen[group], -images, images), np.array(self.lack)[label]
        size = np.add.reduceat(n, starts)
        total = _outside(self.missing - size, low, high) - _outside(self.missing, low, high)
        cells = _outside(lack - n, -slack, slack) - _outside(lack, -slack, slack)
        classes = np.add.reduceat(cells, starts)
        squares = np.add.reduceat(n * (n - 2 * lack), starts) + size * (size - 2 * self.missing)
        may_remove, may_add = np.greater(self.have, self.need), np.greater(self.left, self.keep)
        possible = np.where(chosen[group], may_remove[label], may_add[label])
        helps = np.logical_and.reduceat(possible, starts) & (self.rank >= 0)
        helps &= (total < 0) | (total == 0) & (classes < 0)
        if not helps.any():
            return None
        # Among equal moves, add the group that comes next in the order or remove the last one.
        near = np.where(chosen, -self.rank, self.rank)
        helpful = np.flatnonzero(helps)
        order = np.lexsort([part[helpful] for part in (near, squares, classes, total)])
        return int(helpful[order[0]])


def _outside(value: NDArray[np.int64] | int, low: float, high: float) -> NDArray[np.float64]:
    """Squared distance of a value to the interval from `low` to `high`; 0 inside it."""
    return np.maximum(0.0, np.maximum(value - high, low - np.asarray(value))) ** 2


def _mixed_order(groups: Groups, free: Sequence[int]) -> list[int]:
    """Order the groups so that every stretch has about the same mixture of classes."""
    alone = [g for g in free if groups.size[g] == 1]
    if len(alone) == len(free):
        return alone
    several = _halved(groups, [g for g in free if groups.size[g] > 1], 8)
    ranked = [((i + 0.5) / len(part), g) for part in (several, alone) for i, g in enumerate(part)]
    return [g for _, g in sorted(ranked)]


def _halved(groups: Groups, order: list[int], depth: int) -> list[int]:
    """Part the groups into two balanced halves, and each half again; return them joined."""
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
