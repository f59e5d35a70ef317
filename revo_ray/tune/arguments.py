"""Arguments of `CMAMVSearch` that are refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from revo_ray.evolve.cmamv import MINIMUM_POPULATION
from revo_ray.words import shown

LEAST = {"population": MINIMUM_POPULATION, "repeats": 1}
"""The least value of whole numbers that may not be 0."""


def check_arguments(space: Any, sigma: Any, **numbers: Any) -> None:
    """Refuse arguments of other types, and whole numbers that are too small.

    Args:
        space: a dictionary, or None.
        sigma: a number, or None.
        numbers: whole numbers by the names of their arguments.

    Raises:
        ValueError: naming the argument.
    """
    if space is not None and not isinstance(space, Mapping):
        raise ValueError(f"space={shown(space)} is no dictionary of keys and domains")
    if sigma is not None and (isinstance(sigma, bool) or not isinstance(sigma, Real)):
        raise ValueError(f"sigma={shown(sigma)} is no number")
    for name, number in numbers.items():
        whole = isinstance(number, Integral) and not isinstance(number, bool)
        if not whole or number < LEAST.get(name, 0):
            least = LEAST.get(name, 0)
            raise ValueError(f"{name}={shown(number)} must be a whole number from {least}")
