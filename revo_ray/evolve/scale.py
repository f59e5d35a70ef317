"""Linear and log scales: a number between two bounds, and its position from 0 to 1."""

from __future__ import annotations

import math


class Scaled:
    """A variable on a linear or a log scale between two bounds.

    Subclasses are dataclasses that declare these fields.
    """

    low: float
    high: float
    log: bool
    start: float | None

    @property
    def start_unit(self) -> float:
        """Centre of the initial distribution, as a position in [0, 1]."""
        return 0.5 if self.start is None else self.to_unit(self.start)

    def to_unit(self, value: float) -> float:
        """Return the position of a value on the variable's scale, in [0, 1]."""
        if self.low == self.high:
            return 0.5
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            unit = (math.log(value) - low) / (high - low)
        else:
            unit = (value - self.low) / (self.high - self.low)
        return min(max(unit, 0.0), 1.0)

    def interpolate(self, unit: float) -> float:
        """Return the value at a position on the scale (clipped to [0, 1]), without rounding."""
        return interpolate(unit, self.low, self.high, self.log)

    def _check_log(self) -> None:
        if self.log and not self.low > 0:
            raise ValueError(
                f"{type(self).__name__}: log=True needs low > 0, not low={self.low!r};"
                " raise low or drop log"
            )

    def _check_start(self) -> None:
        if self.start is not None and not self.low <= self.start <= self.high:
            raise ValueError(
                f"{type(self).__name__}: start={self.start!r} is outside"
                f" [{self.low!r}, {self.high!r}]; move it inside, or leave it out for the middle"
            )


def interpolate(unit: float, low: float, high: float, log: bool) -> float:
    """Return the number at a position between two bounds (clipped to [0, 1])."""
    unit = min(max(float(unit), 0.0), 1.0)
    if log:
        value = math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
    else:
        value = low + unit * (high - low)
    return float(min(max(value, low), high))
