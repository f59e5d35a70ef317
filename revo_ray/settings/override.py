"""The value of `--set KEY=VALUE`: text to the letter where the key takes text, else YAML."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from revo_ray.settings.safe_yaml import read_yaml


def typed(text: str, path: Sequence[str], config: type[BaseModel]) -> Any:
    """Return the value that a text means at a key.

    A key that takes text takes it as it stands, with `#`, `: ` and quotes. Some keys take other
    values beside text: an empty text and `null` mean null there, and a number, a list or a mapping
    in YAML is one. Text that is not YAML is always text.

    Args:
        text: the text behind `=`.
        path: names of the sections and the key; the key need not exist.
        config: the configuration's class.
    """
    kinds = list(_kinds(config, path))
    try:
        value, _ = read_yaml(text)
    except yaml.YAMLError:
        return text
    if str not in kinds:
        return value
    if type(None) in kinds and text in ("", "null"):
        return None
    other = value is not None and not isinstance(value, str) and type(value) in kinds
    return value if other else text


def _kinds(annotation: Any, path: Sequence[str] = ()) -> Iterator[type]:
    """Yield the types of values, as YAML has them, that a type takes at a path below it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _kinds(arguments[0], path)
    elif origin in (Union, types.UnionType):
        for member in arguments:
            yield from _kinds(member, path)
    elif path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(path[0])
            if field is not None:
                yield from _kinds(field.annotation, path[1:])
        elif origin is dict:
            yield from _kinds(arguments[1], path[1:])
    elif origin is Literal:
        yield from {type(value) for value in arguments}
    elif annotation is float:
        yield from (float, int)
    elif origin in (list, tuple):
        yield list
    elif isinstance(origin or annotation, type):
        yield origin or annotation
