"""Placeholders: the tuples that a `Tuner` puts in the place of objects, until a trial runs."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import Any

from ray import tune
from ray.tune.impl.placeholder import inject_placeholders


def is_placeholder(value: Any) -> bool:
    """Whether a value stands for an object, or for a `tune.sample_from`."""
    return _token(value) in (_object_token(), _function_token())


def is_function_placeholder(value: Any) -> bool:
    """Whether a value stands for a `tune.sample_from`."""
    return _token(value) == _function_token()


def breaks_resolution(value: Any) -> bool:
    """Whether Tune fails on this value of a choice that holds placeholders, too.

    It looks into whichever value was chosen for the hash of an object, as `value[1]`.
    """
    if not value or is_placeholder(value):
        return False
    try:
        value[1]
    except (TypeError, LookupError):
        return True
    return False


def _token(value: Any) -> str | None:
    pair = type(value) is tuple and len(value) == 2 and isinstance(value[0], str)
    return value[0] if pair else None


@cache
def _object_token() -> Any:
    return _token_of(object())


@cache
def _function_token() -> Any:
    return _token_of(tune.sample_from(lambda config: config))


def _token_of(value: Any) -> Any:
    return inject_placeholders(value, defaultdict(list))[0]
