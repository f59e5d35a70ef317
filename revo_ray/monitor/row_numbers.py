"""Numbers that tell of an evaluation's plan at a glance, for tables of all evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from revo_ray.methods import UnitLike
from revo_ray.rundir.evaluation import Evaluation

Number = Callable[[Evaluation], float | None]


def row_numbers(units: Sequence[UnitLike]) -> dict[str, Number]:
    """Functions of a row by the names of their columns; units: input to output."""
    head = next((index for index, unit in enumerate(units) if unit.head), None)
    return {
        "generation": lambda row: row.generation,
        "weight decay": lambda row: row.weight_decay,
        "frozen units": lambda row: row.unit_lrs.count(0),
        "head rate": lambda row: None if head is None else rate(head, row),
        "mean log10 rate": _mean_log_rate,
    }


def rate(index: int, row: Evaluation) -> float | None:
    """The learning rate of a unit; 0 if it is frozen."""
    return row.unit_lrs[index] if index < len(row.unit_lrs) else None


def _mean_log_rate(row: Evaluation) -> float | None:
    logs = [math.log10(rate) for rate in row.unit_lrs if rate > 0]
    return sum(logs) / len(logs) if logs else None
