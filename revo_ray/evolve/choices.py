"""Choices: the values of a categorical variable, of any type, found in constant time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any


class Choices:
    """Distinct values of any type, each with its number.

    Values that hash are found by it, also inside lists, tuples, sets and dictionaries. All others,
    such as arrays, are compared one after the other.

    Raises:
        ValueError: two of the values are the same, of one type.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        self._values: list[Any] = []
        self._numbers: dict[Hashable, list[int]] = {}
        self._others: list[int] = []
        for number, value in enumerate(values):
            if any(identical(self._values[i], value) for i in self._like(value)):
                raise ValueError(
                    f"Categorical: the choice {value!r} stands twice;"
                    " use weights to make a choice more probable"
                )
            self._values.append(value)
            try:
                self._numbers.setdefault(_token(value), []).append(number)
            except TypeError:
                self._others.append(number)

    def number(self, value: Any) -> int | None:
        """Return the number of the value of the same type, else of an equal one, or None."""
        like = list(self._like(value))
        for same in (identical, equal):
            for number in like:
                if same(self._values[number], value):
                    return number
        return None

    def _like(self, value: Any) -> Iterable[int]:
        """Numbers of the values that may equal this one, in ascending order."""
        try:
            found = self._numbers.get(_token(value), [])
        except TypeError:
            return range(len(self._values))
        return sorted([*found, *self._others]) if self._others else found


def identical(a: Any, b: Any) -> bool:
    """Tell whether two values are equal and of one type."""
    return a is b or (type(a) is type(b) and equal(a, b))


def equal(a: Any, b: Any) -> bool:
    """Tell whether two values are equal; a list equals a tuple, as in JSON."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    try:
        return a is b or bool(a == b)
    except ValueError:  # an array's comparison has no single truth value
        return False


def _token(value: Any) -> Hashable:
    """Return a hashable that is equal for equal values.

    Raises:
        TypeError: the value, or a part of it, has no hash.
    """
    if isinstance(value, list | tuple):
        return (list, *map(_token, value))
    if isinstance(value, dict):
        return (dict, frozenset((key, _token(item)) for key, item in value.items()))
    if isinstance(value, set):
        return frozenset(value)
    hash(value)
    return value  # type: ignore[no-any-return]
