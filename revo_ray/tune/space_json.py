"""Search spaces as JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ray.tune.search.sample import Categorical as TuneCategorical
from ray.tune.search.sample import Domain, Float, LogUniform
from ray.tune.search.sample import Integer as TuneInteger

from revo_ray.tune.domains import sampler_of
from revo_ray.tune.placeholders import is_placeholder


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
    if type(value) is tuple and not is_placeholder(value):
        return {"tuple": [to_json(item) for item in value]}
    if type(value) is dict:
        return {"dict": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if isinstance(value, TuneCategorical):
        return {"choice": [to_json(item) for item in value.categories]}
    if isinstance(value, Float | TuneInteger):
        sampler, step = sampler_of(value)
        kind = "float" if isinstance(value, Float) else "integer"
        scale = "log" if isinstance(sampler, LogUniform) else "linear"
        return {kind: [to_json(part) for part in (value.lower, value.upper, scale, step or None)]}
    raise TypeError(f"{value!r} is no JSON")


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
