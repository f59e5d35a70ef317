"""Domains of a search space by their paths, and the parts of it that nothing could resolve."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ray.tune.search.sample import Categorical, Domain

from revo_ray.tune.domains import NO_FUNCTION, NO_GRID
from revo_ray.tune.key_paths import KeyPath, key_text
from revo_ray.tune.placeholders import breaks_resolution, is_function_placeholder, is_placeholder
from revo_ray.words import shown

_BESIDE = (
    "CMAMVSearch searches no domain inside a tune.choice; give it a key of its own, which the "
    "trainable reads where the choice needs it"
)
_HIDDEN = "Tune finds no domain inside a {}; use a list or a dictionary"
_LAMBDA = (
    "Tune calls no lambda, so the trainable would get the function itself; compute the value in "
    "the trainable, or give tune.choice([…]) with the function if it is meant as a value"
)
_MIXED = (
    "Tune cannot hand out a choice of objects that also holds {}; give the search space to "
    "CMAMVSearch itself, or choose among names that the trainable looks up"
)
_EVAL = "an eval cannot be evolved; compute the value in the trainable, from the others"


def find_domains(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Domain]]:
    """The domains in nested dictionaries, lists and tuples, in order, each under its path.

    Raises:
        ValueError: a part would reach the trainable as it is, or a key is no text; the text
            begins with the key.
    """
    if isinstance(value, Domain):
        if isinstance(value, Categorical):
            for choice in value.categories:
                _refuse_unresolved(choice, path)
            if any(map(is_placeholder, value.categories)):
                for choice in filter(breaks_resolution, value.categories):
                    raise ValueError(f"{key_text(path)}: {_MIXED.format(shown(choice))}")
        yield path, value
        return
    if isinstance(value, types.LambdaType) and value.__name__ == "<lambda>":
        raise ValueError(f"{key_text(path)}: {_LAMBDA}")
    if (reason := _unresolved(value)) is not None:
        raise ValueError(f"{key_text(path)}: {reason}")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(
                    f"{key_text((*path, key))}: the key {shown(key)} is no text, which Tune "
                    f"demands; use {str(key)!r}"
                )
            yield from find_domains(item, (*path, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from find_domains(item, (*path, number))
    elif any(isinstance(item, Domain) for item in _parts(value)):
        raise ValueError(f"{key_text(path)}: {_HIDDEN.format(type(value).__name__)}")


def _refuse_unresolved(choice: Any, path: KeyPath) -> None:
    reason = _BESIDE if isinstance(choice, Domain) else _unresolved(choice)
    if reason is not None:
        raise ValueError(f"{key_text(path)}: {reason}")
    for item in _parts(choice):
        _refuse_unresolved(item, path)


def _unresolved(value: Any) -> str | None:
    """The reason why a value cannot be handed to a trainable, if there is one."""
    if is_function_placeholder(value):
        return NO_FUNCTION
    if isinstance(value, dict) and len(value) == 1:
        return {"grid_search": NO_GRID, "eval": _EVAL}.get(next(iter(value)))
    return None


def _parts(value: Any) -> Collection[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list | tuple | set | frozenset) else ()
