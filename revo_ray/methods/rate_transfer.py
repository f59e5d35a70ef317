"""Rates of one network's units for another's: units at the same relative depth correspond."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from revo_ray.methods.method import UnitLike


def depths(count: int) -> list[float]:
    """Places of so many units, from 0 at the input to 1 at the last."""
    return [place / max(count - 1, 1) for place in range(count)]


def mapped(rates: Sequence[float], units: Sequence[UnitLike]) -> list[float]:
    """Rates of a network for the units of another, head to head.

    As many units have the same rates. Otherwise each unit has the rate at its depth, on a log scale
    between the other network's units that train; it is frozen if the one nearest in depth is.

    Args:
        rates: of the other network's units, input to head; 0 freezes one.
        units: of this network, input to output.
    """
    if len(rates) == len(units):
        return list(rates)
    body = np.array(rates[:-1] or rates, float)
    places = np.array(depths(len(rates))[: len(body)])
    at = depths(len(units))
    trains = np.interp(at, places, body > 0) >= 0.5
    found = np.where(trains, _by_depth(at, places, body), 0.0)
    found[[unit.head for unit in units]] = rates[-1]
    return [float(rate) for rate in found]


def filled(rates: Sequence[float], units: Sequence[UnitLike]) -> list[float]:
    """The same rates, and for frozen units those of the units around them that train.

    Args:
        rates: of the units; at least one trains.
        units: input to output.
    """
    at, body = depths(len(units)), np.array(rates, float)
    if any(rate > 0 and not unit.head for rate, unit in zip(rates, units, strict=True)):
        body[[unit.head for unit in units]] = 0  # its rate is unlike theirs
    guesses = _by_depth(at, np.array(at), body)
    return [float(rate or guess) for rate, guess in zip(rates, guesses, strict=True)]


def _by_depth(
    at: Sequence[float] | np.ndarray, places: np.ndarray, rates: np.ndarray
) -> np.ndarray:
    """Rates at depths, by the rates above 0 at other places; zeros if there is none."""
    trained = rates > 0
    if not trained.any():
        return np.zeros(len(at))
    return np.asarray(10 ** np.interp(at, places[trained], np.log10(rates[trained])))
