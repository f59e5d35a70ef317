"""Space: the ordered variables that a sample has values of."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from revo_ray.evolve.variables import Categorical, Integer, Real, Variable

__all__ = ["Categorical", "Integer", "Real", "Sample", "Space", "Variable"]

Sample = dict[str, Any]
"""Variable names to plain values."""


class Space(Mapping[str, Variable]):
    """Named variables in a fixed order; a sample holds a plain value for each of them.

    Variables with a single value are constants: samples carry them, optimisers never see them.

    Raises:
        ValueError: A name that is not a string, or something that is not a variable.
    """

    def __init__(self, variables: Mapping[str, Variable]) -> None:
        for name, variable in variables.items():
            known = isinstance(variable, Real | Integer | Categorical)
            if not known or not isinstance(name, str):
                raise ValueError(
                    f"Space: {name!r}: {variable!r} is not a name with a variable;"
                    " use a string with a Real, an Integer or a Categorical"
                )
        self._variables = dict(variables)

    def __getitem__(self, name: str) -> Variable:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        return f"Space({self._variables!r})"

    @cached_property
    def constants(self) -> Sample:
        """Variables with a single value, and that value."""
        return {
            name: variable.at(0)
            for name, variable in self.items()
            if not isinstance(variable, Real) and variable.size == 1
        }

    @property
    def searched(self) -> dict[str, Variable]:
        """Variables with more than one value."""
        constants = self.constants
        return {name: variable for name, variable in self.items() if name not in constants}

    def starting_at(self, sample: Mapping[str, Any]) -> Space:
        """Return a space whose scaled variables start at a sample's values."""
        return Space(
            {
                name: each if isinstance(each, Categorical) else replace(each, start=sample[name])
                for name, each in self.items()
            }
        )

    def around(self, winners: Sequence[Mapping[str, Any]]) -> Space:
        """Return a space whose initial distribution is that of samples that did well.

        The scaled variables start at the mean place of the samples' values, and reals also vary
        together as these do. A choice has its frequency among them, but for a tenth that all
        choices share: each can still be drawn.

        Args:
            winners: At least one; all have values of the same variables. The other variables stay.
        """
        return Space(
            {
                name: _around(each, [winner[name] for winner in winners])
                if name in winners[0]
                else each
                for name, each in self.items()
            }
        )

    def random(self, rng: np.random.Generator) -> Sample:
        """Draw a sample, uniformly on each variable's scale."""
        return {name: variable.random(rng) for name, variable in self.items()}

    def key(self, sample: Mapping[str, Any]) -> Hashable:
        """Return a hashable that is equal for equal samples, whatever the type of the choices.

        Raises:
            ValueError: A categorical value that is not one of the choices.
        """
        return tuple(variable.key(sample[name]) for name, variable in self.items())

    def differing(
        self, recorded: Mapping[str, Any], proposed: Mapping[str, Any], tolerance: float
    ) -> str | None:
        """Return the name of the first variable whose two values differ, or None.

        Values of different types may be equal, as for `key`. Real numbers without a step may be
        `tolerance` apart, in widths of their scale. A value that cannot be one differs.
        """
        for name, variable in self.items():
            try:
                first, second = recorded[name], proposed[name]
                if variable.key(first) == variable.key(second):
                    continue
                if isinstance(variable, Real) and variable.is_near(first, second, tolerance):
                    continue
            except (ValueError, TypeError, LookupError, ArithmeticError):
                pass
            return name
        return None

    def validate(self, sample: Mapping[str, Any]) -> None:
        """Check that a sample holds a possible value for every variable, and nothing else.

        Raises:
            ValueError: Missing or unknown names, or a value outside its variable.
        """
        missing = [name for name in self if name not in sample]
        unknown = [name for name in sample if name not in self]
        if missing or unknown:
            raise ValueError(f"sample: missing {missing}, unknown {unknown}; expected {list(self)}")
        for name, variable in self.items():
            if not variable.contains(sample[name]):
                raise ValueError(f"sample: {name}={sample[name]!r} is not a value of {variable}")


def _around(variable: Variable, values: Sequence[Any]) -> Variable:
    """A variable whose initial distribution is that of some of its values."""
    if isinstance(variable, Categorical):
        counts = np.bincount([variable.index(v) for v in values], minlength=variable.size)
        weights = 0.9 * counts / len(values) + 0.1 / variable.size
        return replace(variable, weights=tuple(weights.tolist()))
    start = variable.interpolate(float(np.mean([variable.to_unit(value) for value in values])))
    if isinstance(variable, Integer):
        return replace(variable, start=start)
    return replace(variable, start=start, winners=tuple(map(float, values)))
