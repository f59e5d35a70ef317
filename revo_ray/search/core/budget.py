"""`budget: epochs`: the epochs that a search that stops evaluations early may still spend."""

from __future__ import annotations


class EpochBudget:
    """The epochs that a number of whole evaluations would cost, spent to the last one.

    An evaluation reserves what it may need when it begins; the last ones get what is left.

    Args:
        evaluations: how many whole evaluations the budget would pay for.
        epochs: of a whole evaluation.
    """

    def __init__(self, evaluations: int, epochs: int) -> None:
        self._epochs = epochs
        self.left = evaluations * epochs
        """Epochs that are neither spent nor reserved."""
        self._reserved: dict[int, int] = {}

    @property
    def spent(self) -> bool:
        """Whether every epoch is spent."""
        return self.left <= 0 and not self._reserved

    def reserve(self, evaluation: int) -> int:
        """How many epochs an evaluation may take, at most a whole evaluation's."""
        granted = min(self._epochs, self.left)
        self._reserved[evaluation] = granted
        self.left -= granted
        return granted

    def spend(self, evaluation: int, epochs: int) -> None:
        """An evaluation ended after so many epochs; what else it reserved is free again."""
        self.left += self._reserved.pop(evaluation, 0) - epochs
