"""Number of evaluations that the GPUs of a machine hold at once."""

from __future__ import annotations

UNIT = 10_000
"""Ray counts resources in ten-thousandths, rounded down."""


def slots(gpus: float, per_trial: float) -> int:
    """Number of evaluations that the GPUs of one machine hold at once, as Ray counts.

    No evaluation has parts of two GPUs: two GPUs hold four that take 0.4 each, not five.

    Args:
        gpus: number of GPUs.
        per_trial: GPUs of an evaluation, more than 0: a fraction of one, or whole ones.
    """
    if per_trial >= 1:
        return int(gpus // per_trial)
    return int(gpus) * (UNIT // max(1, int(per_trial * UNIT)))
