"""Outcomes of evaluations, and the finite values that an optimiser is told for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from revo_ray.evolve.optimiser import C, Optimiser


@dataclass(frozen=True)
class Outcome:
    """Outcome of an evaluation.

    Attributes:
        value: lower is better; None, NaN and infinities are failures.
        reusable: whether an equal sample would end the same way.
    """

    value: float | None
    reusable: bool = True

    @property
    def finite(self) -> float | None:
        """The value, or None for a failure."""
        return None if self.value is None or not math.isfinite(self.value) else self.value

    @property
    def failed(self) -> bool:
        """Whether there is no finite value."""
        return self.finite is None


def generation_values(outcomes: Sequence[Outcome]) -> list[float] | None:
    """Finite values of a generation, or None if they have no spread.

    A failure gets the worst finite value: a tie, which an infinity could not be.
    """
    finite = [outcome.finite for outcome in outcomes if outcome.finite is not None]
    if not finite or max(finite) == min(finite):
        return None
    worst = max(finite)
    return [worst if outcome.finite is None else outcome.finite for outcome in outcomes]


class OneByOne(Generic[C]):
    """Tells an optimiser without generations each outcome as it comes.

    A failure is told as the worst finite value so far, once there is one.
    """

    def __init__(self, optimiser: Optimiser[C]) -> None:
        self._optimiser = optimiser
        self._worst: float | None = None
        self._failed: list[C] = []

    def tell(self, candidate: C, outcome: Outcome) -> None:
        """Tell the optimiser an outcome, and the failures that waited for a finite value."""
        value = outcome.finite
        if value is None:
            self._failed.append(candidate)
        else:
            self._worst = value if self._worst is None else max(value, self._worst)
            self._optimiser.tell([(candidate, value)])
        if self._worst is not None:
            for failed in self._failed:
                self._optimiser.tell([(failed, self._worst)])
            self._failed.clear()
