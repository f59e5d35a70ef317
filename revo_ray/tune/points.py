"""Points that a user gives: configurations, in Tune's nested or flat spelling, as samples."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ray.tune.search.repeater import TRIAL_INDEX

from revo_ray.evolve.choices import equal
from revo_ray.evolve.space import Categorical, Integer, Sample, Variable
from revo_ray.tune.key_paths import KeyPath, key_text, slashed
from revo_ray.tune.param_space import ParamSpace
from revo_ray.tune.placeholders import is_placeholder
from revo_ray.words import shown


def to_sample(space: ParamSpace, point: Any) -> Sample:
    """A configuration as a sample. It may leave constants out, or hold them with their values.

    Args:
        space: the search space.
        point: values by key, nested as in the search space, or flat with slashes.

    Raises:
        ValueError: it misses a variable, holds an unknown key, a key twice or another constant, or
            a value outside its domain; the text names the key.
    """
    if not isinstance(point, Mapping):
        raise ValueError(f"{shown(point)} is no dictionary of the search space's keys")
    leaves = dict(_leaves(space, space.template, ()))
    flat: dict[str, list[KeyPath]] = {}
    for path in leaves:
        flat.setdefault(slashed(path), []).append(path)
    found: dict[KeyPath, Any] = {}
    inner = {path[:depth] for path in leaves for depth in range(len(path))}
    for path, value in _values(leaves, inner, flat, point, ()):
        if path in found:
            raise ValueError(f"{key_text(path)}: it is given twice; leave one out")
        found[path] = value
    missing = [key_text(path) for path in space.paths if path not in found]
    if missing:
        raise ValueError(f"{', '.join(missing)}: missing; a point has a value of every variable")
    for path, value in found.items():
        if path not in space.paths and not _same(leaves[path], value):
            raise ValueError(
                f"{key_text(path)}: {shown(value)} is not the constant {shown(leaves[path])} of "
                "the search space"
            )
    return {name: _plain(space, path, found[path]) for path, name in space.paths.items()}


def _leaves(space: ParamSpace, value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Domains and constants by path."""
    items = [] if path in space.paths or is_placeholder(value) else _items(value)
    for key, item in items:
        yield from _leaves(space, item, (*path, key))
    if not items:
        yield path, value


def _values(
    leaves: Mapping[KeyPath, Any],
    inner: Collection[KeyPath],
    flat: Mapping[str, list[KeyPath]],
    value: Any,
    path: KeyPath,
) -> Iterator[tuple[KeyPath, Any]]:
    """Values of a point, each under the path of its leaf."""
    if path in leaves:
        yield path, value
        return
    alike = [] if path in inner else flat.get(slashed(path), [])
    if len(alike) > 1:
        both = " and ".join(map(key_text, alike))
        raise ValueError(f"{slashed(path)}: it may be {both}; spell the point as the search space")
    if alike:
        yield alike[0], value
    elif items := _items(value):
        for key, item in items:
            if (*path, key) != (TRIAL_INDEX,):
                yield from _values(leaves, inner, flat, item, (*path, key))
    elif path not in inner:
        raise ValueError(f"{key_text(path)}: the search space has no such key")
    elif value not in ({}, [], ()):
        raise ValueError(f"{key_text(path)}: the search space has keys below it, not a value")


def _items(value: Any) -> list[tuple[Any, Any]]:
    """Keys or indices of a dictionary, list or tuple, with their values; else nothing."""
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list | tuple) else []


def _plain(space: ParamSpace, path: KeyPath, value: Any) -> Any:
    """A value as the optimisers give it.

    Raises:
        ValueError: it is outside its variable.
    """
    variable: Variable = space.space[space.paths[path]]
    if isinstance(variable, Integer) and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not variable.contains(value):
        raise ValueError(f"{key_text(path)}: {shown(value)} is {_outside(variable)}")
    if isinstance(variable, Categorical):
        return variable.at(variable.index(value))
    return int(value) if isinstance(variable, Integer) else float(value)


def _outside(variable: Variable) -> str:
    if isinstance(variable, Categorical):
        hint = "; give the search space to CMAMVSearch itself, since a Tuner hides its objects"
        hidden = any(map(is_placeholder, variable.choices))
        return f"none of the choices {shown(list(variable.choices))}{hint if hidden else ''}"
    kind = "integer" if isinstance(variable, Integer) else "number"
    step = f" in steps of {variable.step}" if variable.step not in (None, 1) else ""
    return f"no {kind} from {variable.low} to {variable.high}{step}"


def _same(constant: Any, value: Any) -> bool:
    return is_placeholder(constant) or equal(constant, value)
