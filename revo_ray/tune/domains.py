"""Domains of Tune as variables, and search spaces as JSON."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cache
from typing import Any

import numpy as np
from ray import tune
from ray.tune.impl.placeholder import inject_placeholders
from ray.tune.search.sample import Categorical as TuneCategorical
from ray.tune.search.sample import Domain, Float, LogUniform, Quantized, Sampler, Uniform
from ray.tune.search.sample import Integer as TuneInteger

from revo_ray.evolve.space import Categorical, Integer, Real, Variable

KeyPath = tuple[Any, ...]


def to_variable(path: KeyPath, domain: Domain) -> Variable:
    """A domain of Tune as a variable. Tune's upper bounds of integers are exclusive.

    Raises:
        ValueError: it has no bounds, or no fixed distribution.
    """
    try:
        return _variable(domain)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{'/'.join(map(str, path))}: {error}") from None


def _variable(domain: Domain) -> Variable:
    sampler, step = _sampler(domain)
    if isinstance(domain, TuneCategorical):
        return Categorical(tuple(domain.categories))
    log = isinstance(sampler, LogUniform)
    if isinstance(domain, TuneInteger) and isinstance(sampler, Uniform | LogUniform):
        if not step or step == 1:
            return Integer(int(domain.lower), int(domain.upper) - 1, log=log)
        # With a step Tune includes the upper bound, and rounds to multiples of the step.
        step = int(step)
        low, high = -(-int(domain.lower) // step) * step, int(domain.upper) // step * step
        return Integer(low, high, log=log, step=step)
    if isinstance(domain, Float) and isinstance(sampler, Uniform | LogUniform):
        return Real(float(domain.lower), float(domain.upper), log=log, step=step)
    raise ValueError(
        "CMAMVSearch needs bounds, so it takes uniform, loguniform, randint, lograndint, their "
        f"quantised kinds and choice, not {type(domain).__name__} with {type(sampler).__name__}"
    )


def _sampler(domain: Domain) -> tuple[Sampler, Any]:
    """The sampler of a domain, and the step that values are rounded to, or None."""
    sampler = domain.get_sampler()
    return (sampler.sampler, sampler.q) if isinstance(sampler, Quantized) else (sampler, None)


def to_json(value: Any) -> Any:
    """A search space, or a part of one, as plain JSON values that `from_json` reads.

    NumPy's numbers become Python's.

    Raises:
        TypeError: it holds an object, or Tune's placeholder for one.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": repr(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [to_json(item) for item in value]
    if type(value) is tuple and not _is_placeholder(value):
        return {"tuple": [to_json(item) for item in value]}
    if type(value) is dict:
        return {"dict": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if isinstance(value, TuneCategorical):
        return {"choice": [to_json(item) for item in value.categories]}
    if isinstance(value, Float | TuneInteger):
        sampler, step = _sampler(value)
        kind = "float" if isinstance(value, Float) else "integer"
        scale = "log" if isinstance(sampler, LogUniform) else "linear"
        return {kind: [to_json(part) for part in (value.lower, value.upper, scale, step or None)]}
    raise TypeError(f"{value!r} is no JSON")


def _is_placeholder(value: tuple[Any, ...]) -> bool:
    return len(value) == 2 and isinstance(value[0], str) and value[0] in _placeholders()


@cache
def _placeholders() -> tuple[str, ...]:
    """First items of the tuples that a `Tuner` puts in the place of an object and of a function."""
    return tuple(
        inject_placeholders(value, defaultdict(list))[0]
        for value in (object(), tune.sample_from(lambda config: config))
    )


def from_json(value: Any) -> Any:
    """The value that `to_json` took.

    Raises:
        ValueError: `to_json` does not write such values, or Tune refuses a domain's bounds.
    """
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("number", str(text))]:
            return float(text)
        case [("tuple", list(items))]:
            return tuple(from_json(item) for item in items)
        case [("dict", list(pairs))] if all(isinstance(p, list) and len(p) == 2 for p in pairs):
            return {_key(key): from_json(item) for key, item in pairs}
        case [("choice", list(items))]:
            return TuneCategorical([from_json(item) for item in items]).uniform()
        case [("float" | "integer" as kind, [low, high, "log" | "linear" as scale, step])]:
            return _domain(kind, low, high, scale, step)
    raise ValueError("it holds no search space")


def _key(value: Any) -> Any:
    key = from_json(value)
    if isinstance(key, list | dict | Domain):
        raise ValueError("it holds no search space")
    return key


def _domain(kind: str, low: Any, high: Any, scale: str, step: Any) -> Domain:
    for number in (low, high) if step is None else (low, high, step):
        if type(number) not in (int, float) or not math.isfinite(number):
            raise ValueError(f"{number!r} is no bound or step of a search space")
    bounded = Float(low, high) if kind == "float" else TuneInteger(low, high)
    domain = bounded.loguniform() if scale == "log" else bounded.uniform()
    return domain if step is None else domain.quantized(step)
