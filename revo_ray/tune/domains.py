"""Domains of Tune as variables of a `Space`."""

from __future__ import annotations

import math
from numbers import Real as RealNumber
from typing import Any

from ray.tune.search.sample import Categorical as TuneCategorical
from ray.tune.search.sample import (
    Domain,
    Float,
    Function,
    Grid,
    LogUniform,
    Quantized,
    Sampler,
    Uniform,
)
from ray.tune.search.sample import Integer as TuneInteger

from revo_ray.evolve.space import Categorical, Integer, Real, Variable
from revo_ray.tune.key_paths import KeyPath, key_text
from revo_ray.words import shown

NO_GRID = "a grid_search cannot be evolved; use tune.choice"
NO_FUNCTION = (
    "tune.sample_from cannot be evolved, since its values have no bounds; compute the value in the "
    "trainable, from the others"
)
_MOST = 2**40


def to_variable(path: KeyPath, domain: Domain) -> Variable:
    """A domain of Tune as a variable. Tune's upper bounds of integers are exclusive.

    A domain of one value becomes a constant. With a step, the bounds move inwards to multiples of
    it, as in Tune.

    Raises:
        ValueError: it has no values, no bounds, or no fixed distribution; the text begins with
            the key.
    """
    try:
        return _variable(domain)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(f"{key_text(path)}: {error}") from None


def sampler_of(domain: Domain) -> tuple[Sampler, Any]:
    """The sampler of a domain, and the step that values are rounded to, or None."""
    sampler = domain.get_sampler()
    return (sampler.sampler, sampler.q) if isinstance(sampler, Quantized) else (sampler, None)


def _variable(domain: Domain) -> Variable:
    if isinstance(domain, Function):
        raise ValueError(NO_FUNCTION)
    sampler, step = sampler_of(domain)
    if isinstance(sampler, Grid):
        raise ValueError(NO_GRID)
    if isinstance(domain, TuneCategorical):
        return _choice(domain)
    if isinstance(sampler, Uniform | LogUniform) and isinstance(domain, Float | TuneInteger):
        for bound in (domain.lower, domain.upper):
            if not _is_number(bound) or math.isnan(bound) or math.isinf(bound):
                raise ValueError(f"{shown(bound)} is no bound; use a finite number")
        if domain.lower > domain.upper:
            raise ValueError(
                f"the lower bound {domain.lower} is above the upper one, {domain.upper}; swap them"
            )
        log = isinstance(sampler, LogUniform)
        if log and domain.lower <= 0:
            raise ValueError(
                f"a log scale needs a lower bound above 0, not {domain.lower}; raise it, or use "
                f"tune.{'uniform' if isinstance(domain, Float) else 'randint'}"
            )
        make = _real if isinstance(domain, Float) else _integer
        return make(domain.lower, domain.upper, log, step)
    raise ValueError(
        "CMAMVSearch needs bounds, so it takes uniform, loguniform, randint, lograndint, their "
        f"quantised kinds and choice, not {type(domain).__name__} with {type(sampler).__name__}"
    )


def _choice(domain: TuneCategorical) -> Categorical:
    if not domain.categories:
        raise ValueError("tune.choice has no values; give it at least one")
    try:
        return Categorical(tuple(domain.categories))
    except ValueError as error:
        raise ValueError(
            str(error).partition(": ")[2].partition(";")[0] + "; leave it out"
        ) from None


def _real(low: Any, high: Any, log: bool, step: Any) -> Variable:
    low, high = float(low), float(high)
    if step is not None:
        if not _is_number(step) or not math.isfinite(step) or step <= 0:
            raise ValueError(f"{shown(step)} is no step; use a positive number")
        low, high = _multiple(low, step, math.ceil), _multiple(high, step, math.floor)
        if low > high:
            raise ValueError(f"no multiple of the step {step} lies within the bounds; widen them")
    return Categorical((low,)) if low == high else Real(low, high, log=log, step=step)


def _multiple(bound: float, step: float, rounded: Any) -> float:
    """The bound itself if it is a multiple of the step, but for rounding, else the next one."""
    nearest = round(bound / step)
    return bound if math.isclose(bound / step, nearest) else rounded(bound / step) * step


def _integer(low: Any, high: Any, log: bool, step: Any) -> Integer:
    step = 1 if step is None else step
    for name, number in (("bound", low), ("bound", high), ("step", step)):
        if not _is_number(number) or number != int(number):
            raise ValueError(f"{shown(number)} is no {name} of an integer; use a whole number")
        if abs(number) > _MOST:
            raise ValueError(
                f"{number} is beyond ±{_MOST}, where floats no longer tell integers apart; use "
                "tune.uniform or tune.loguniform, and round the value in the trainable"
            )
    low, high, step = int(low), int(high), int(step)
    if step < 1:
        raise ValueError(f"{step} is no step; use a positive number")
    if step == 1:
        if low == high:
            raise ValueError(
                f"there is no integer from {low} up to {high}, which Tune excludes; use "
                f"{high + 1} as the upper bound for the constant {low}"
            )
        return Integer(low, high - 1, log=log)
    # With a step, Tune includes the upper bound.
    first, last = -(-low // step) * step, high // step * step
    if first > last:
        raise ValueError(
            f"no multiple of the step {step} lies within {low} and {high}; widen the bounds"
        )
    return Integer(first, last, log=log, step=step)


def _is_number(value: Any) -> bool:
    return isinstance(value, RealNumber) and not isinstance(value, bool)
