"""Real, Integer and Categorical: the kinds of variables that a search may vary."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from numbers import Integral
from numbers import Real as RealNumber
from typing import Any

import numpy as np

from revo_ray.evolve.choices import Choices
from revo_ray.evolve.scale import Scaled, interpolate

# Beyond this a float's resolution on a log scale no longer tells neighbouring integers apart.
_LARGEST_INTEGER = 2**40
# An optimiser divides by the square root of a probability.
_SMALLEST_WEIGHT = 1e-6


@dataclass(frozen=True)
class Real(Scaled):
    """A real number in [low, high], searched on a linear or a log scale.

    Args:
        low, high: Finite bounds in the variable's own units, both included.
        log: Whether the scale is logarithmic; needs low > 0.
        step: Values are rounded to multiples of `step`, then clipped to the bounds.
        start: Centre of the initial distribution; default the middle of the scale.
        deviation: Initial standard deviation as a fraction of the scale's width; default the
            optimiser's.
        depth: Place in the network, from 0 at the input to 1 at the head, of what the variable
            sets; None if it has none. An optimiser may assume that neighbours want like values.
        winners: Values that did well before, one of each winning sample. An optimiser adds the
            covariance of their places to its own initial one.

    Raises:
        ValueError: Arguments that do not fit together.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    start: float | None = None
    deviation: float | None = None
    depth: float | None = None
    winners: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("low", "high", "step", "start", "deviation", "depth"):
            value = getattr(self, name)
            if value is not None and not _is_finite_number(value):
                raise ValueError(f"Real: {name}={value!r} is not a finite number")
        if self.deviation is not None and self.deviation <= 0:
            raise ValueError(f"Real: deviation={self.deviation!r} must be positive")
        if not self.low < self.high:
            raise ValueError(
                f"Real: low={self.low!r} must be less than high={self.high!r};"
                " for a constant use Categorical with one choice"
            )
        if not math.isfinite(float(self.high) - float(self.low)):
            raise ValueError(
                f"Real: high - low overflows for low={self.low!r}, high={self.high!r};"
                " use narrower bounds"
            )
        self._check_log()
        width = (self.high - self.low) * (1 + 1e-9)  # 0.7 - 0.6 is less than 0.1
        if self.step is not None and not 0 < self.step <= width:
            raise ValueError(
                f"Real: step={self.step!r} must be in (0, {self.high - self.low!r}],"
                " the width of the bounds; leave it out for no rounding"
            )
        self._check_start()

    @property
    def size(self) -> int | None:
        """Number of values; None without a step."""
        if self.step is None:
            return None
        return round(self.high / self.step) - round(self.low / self.step) + 1

    def at(self, index: int) -> float:
        """Return the value number `index`, counted from low, of a real with a step."""
        assert self.step is not None
        return self._rounded(self.step * (round(self.low / self.step) + index))

    def from_unit(self, unit: float) -> float:
        """Return the value at a position on the scale (clipped to [0, 1]), rounded to `step`."""
        value = self.interpolate(unit)
        return value if self.step is None else self._rounded(value)

    def random(self, rng: np.random.Generator) -> float:
        """Draw a value, uniformly on the variable's scale."""
        return self.from_unit(rng.random())

    def contains(self, value: Any) -> bool:
        """Tell whether a value is one that a sample may hold."""
        if not _is_finite_number(value) or not self.low <= value <= self.high:
            return False
        return self.step is None or math.isclose(
            value, self._rounded(float(value)), rel_tol=1e-9, abs_tol=1e-9 * self.step
        )

    def key(self, value: Any) -> Hashable:
        """Return a hashable that is equal for equal values."""
        return float(value)

    def is_near(self, value: Any, other: float, tolerance: float) -> bool:
        """Tell whether a value is a possible one, and that close to another on the scale.

        Values with a step have neighbours, and are never near to each other.
        """
        if self.step is not None or not self.contains(value):
            return False
        return abs(self.to_unit(value) - self.to_unit(other)) <= tolerance

    def _rounded(self, value: float) -> float:
        assert self.step is not None
        return float(min(max(round(value / self.step) * self.step, self.low), self.high))


@dataclass(frozen=True)
class Integer(Scaled):
    """An integer among low, low + step, …, high, searched on a linear or a log scale.

    Args:
        low, high: Bounds, both included; equal ones make a constant.
        log: Whether the scale is logarithmic; needs low > 0.
        step: Distance between neighbouring values; must divide high - low.
        start: Centre of the initial distribution, not necessarily an integer; default the middle
            of the scale.

    Raises:
        ValueError: Bounds, step or start that do not fit together.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1
    start: float | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            if not _is_integer(value):
                raise ValueError(f"Integer: {name}={value!r} is not an integer; see Real")
            if abs(value) > _LARGEST_INTEGER:
                raise ValueError(
                    f"Integer: {name}={value!r} is beyond ±{_LARGEST_INTEGER}; use Real"
                )
        if self.low > self.high:
            raise ValueError(f"Integer: low={self.low} is above high={self.high}; swap them")
        self._check_log()
        if self.step < 1 or (self.high - self.low) % self.step:
            reached = self.high - (self.high - self.low) % max(self.step, 1)
            raise ValueError(
                f"Integer: step={self.step} from low={self.low} does not reach"
                f" high={self.high}; use a step of at least 1, here with high={reached}"
            )
        if self.start is not None and not _is_finite_number(self.start):
            raise ValueError(f"Integer: start={self.start!r} is not a finite number")
        self._check_start()

    @property
    def size(self) -> int:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    def at(self, index: int) -> int:
        """Return the value number `index`, counted from low."""
        return int(self.low + index * self.step)

    def from_unit(self, unit: float) -> int:
        """Return the value nearest to a position on the scale (clipped to [0, 1])."""
        return self.at(round((self.interpolate(unit) - self.low) / self.step))

    def random(self, rng: np.random.Generator) -> int:
        """Draw a value, uniformly on the variable's scale.

        On a log scale a value v has the probability mass of [v, v + step).
        """
        if not self.log:
            return self.at(int(rng.integers(self.size)))
        value = interpolate(rng.random(), self.low, self.high + self.step, log=True)
        return self.at(min(int((value - self.low) // self.step), self.size - 1))

    def contains(self, value: Any) -> bool:
        """Tell whether a value is one that a sample may hold."""
        return (
            _is_integer(value)
            and self.low <= value <= self.high
            and (value - self.low) % self.step == 0
        )

    def key(self, value: Any) -> Hashable:
        """Return a hashable that is equal for equal values."""
        return int(value)


@dataclass(frozen=True)
class Categorical:
    """One of several choices that have no order.

    Args:
        choices: Distinct values of any type; a single one makes a constant.
        weights: Initial probabilities, one per choice, up to a common factor; default equal.

    Raises:
        ValueError: No choice, equal choices, or weights that do not fit.
    """

    choices: tuple[Any, ...]
    weights: tuple[float, ...] | None = None
    _numbers: Choices = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.choices or isinstance(self.choices, str):
            raise ValueError(
                f"Categorical: choices={self.choices!r} must be a tuple of at least 2 choices"
                " (1 for a constant)"
            )
        object.__setattr__(self, "choices", tuple(self.choices))
        object.__setattr__(self, "_numbers", Choices(self.choices))
        if self.weights is None:
            return
        object.__setattr__(self, "weights", tuple(self.weights))
        if len(self.weights) != self.size:
            raise ValueError(
                f"Categorical: {len(self.weights)} weights for {self.size} choices;"
                " give one per choice"
            )
        if not all(_is_finite_number(weight) and weight > 0 for weight in self.weights) or (
            min(self.weights) < _SMALLEST_WEIGHT * sum(self.weights)
        ):
            raise ValueError(
                f"Categorical: weights={self.weights!r} must be positive, the smallest at least"
                f" {_SMALLEST_WEIGHT} of their sum; leave out a choice that is not wanted"
            )

    @property
    def size(self) -> int:
        """How many choices there are."""
        return len(self.choices)

    @property
    def probabilities(self) -> np.ndarray:
        """Initial probabilities, shape (size,), summing to 1."""
        weights = np.ones(self.size) if self.weights is None else np.array(self.weights, float)
        return weights / weights.sum()

    def at(self, index: int) -> Any:
        """Return the choice number `index`."""
        return self.choices[index]

    def index(self, value: Any) -> int:
        """Return the number of a choice; a list equals a tuple, as JSON does not tell them apart.

        Raises:
            ValueError: The value is not one of the choices.
        """
        number = self._numbers.number(value)
        if number is None:
            raise ValueError(f"{value!r} is not one of the choices {self.choices!r}")
        return number

    def random(self, rng: np.random.Generator) -> Any:
        """Draw a choice, all of them equally probable."""
        return self.choices[int(rng.integers(self.size))]

    def contains(self, value: Any) -> bool:
        """Tell whether a value is one that a sample may hold."""
        return self._numbers.number(value) is not None

    def key(self, value: Any) -> Hashable:
        """Return a hashable that is equal for equal values."""
        return self.index(value)


Variable = Real | Integer | Categorical
"""A variable of a `Space`."""


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, RealNumber) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
