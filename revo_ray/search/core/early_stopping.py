"""The protocol of a scheduler that stops evaluations early; `search/ray` has one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from revo_ray.rundir.evaluation import Evaluation


class EarlyStopping(Protocol):
    """A scheduler that stops evaluations early."""

    def rebuild(self, rows: Iterable[Evaluation]) -> None:
        """Take in the curves of finished evaluations."""

    def add(self, evaluation: int, trial: Any, controller: Any) -> None:
        """An evaluation begins as a trial of Ray Tune's controller."""

    def result(
        self, evaluation: int, trial: Any, epoch: int, value: float | None, controller: Any
    ) -> str:
        """Judge an evaluation after an epoch: CONTINUE or STOP, in Tune's words."""
