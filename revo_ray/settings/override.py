"""Types of values: text to the letter where a key takes text, else YAML without its surprises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import BaseModel

from revo_ray.errors import UserError
from revo_ray.settings.places import (
    Place,
    below,
    is_free_text,
    is_null,
    literals,
    places_at,
    takes_many,
)
from revo_ray.settings.safe_yaml import problem_of, read_yaml, written
from revo_ray.words import shown

_POWER = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+")
"""Numbers such as `1e3`, which YAML 1.1 takes for a text."""


def typed(text: str, path: Sequence[str], config: type[BaseModel]) -> Any:
    """Return the value that a text means at a key; see `typed_at`.

    Args:
        text: the text behind `=`.
        path: names of the sections and the key; the key need not exist.
        config: the configuration's class.
    """
    return typed_at(text, places_at(config, path))


def typed_at(text: str, found: Sequence[Place]) -> Any:
    """Return the value that a text means where a configuration takes some types.

    - Where text is taken, it is taken as it stands, with `#`, `: ` and quotes. Some keys take a
      list, a mapping or a number beside text: one in YAML is no text, and a number as it is
      usually written.
    - Where null is taken, an empty text and `null` mean null, and nothing else does.
    - All else is YAML.
    - Where nothing is known, numbers and booleans as they are usually written are such, and all
      else is text. `retyped` reads it when the types are known.

    Raises:
        UserError: the text begins a list or a mapping that is wanted, and is no YAML.
    """
    if any(map(is_null, found)) and text in ("", "null"):
        return None
    try:
        value, node = read_yaml(text)
    except yaml.YAMLError as error:
        if takes_many(found) and text.lstrip()[:1] in ("[", "{"):
            raise UserError(f"cannot read {shown(text)}: {problem_of(error)}") from None
        return text
    if isinstance(node, yaml.CollectionNode):
        return fitted(node, value, found) if takes_many(found) else text
    if value is None:
        return text
    takes_text = any(map(is_free_text, found)) or bool(literals(found))
    if isinstance(value, str) and found and not takes_text and text.lstrip()[:1] in ('"', "'"):
        return _number(value, found)
    return _scalar(text, value, found)


def fitted(node: yaml.Node, value: Any, found: Sequence[Place]) -> Any:
    """Return the value of a node, with text to the letter where a configuration takes text.

    Args:
        node: a node of a document that was read.
        value: its value, as YAML has it.
        found: the types that the configuration takes there.
    """
    if isinstance(node, yaml.MappingNode):
        nodes = {key.value: inner for key, inner in node.value}  # the last one, after merged ones
        return {
            key: fitted(nodes[key], inner, below(found, key)) if key in nodes else inner
            for key, inner in value.items()
        }
    if isinstance(node, yaml.SequenceNode):
        items = enumerate(zip(node.value, value, strict=True))
        return [fitted(inner, each, below(found, index)) for index, (inner, each) in items]
    if getattr(node, "style", None) is not None or value is None:  # in quotes, or null
        return value
    return _scalar(str(node.value), value, found)


def retyped(value: Any, found: Sequence[Place]) -> Any:
    """Return a value that was read before its types were known as they take it."""
    if isinstance(value, str):
        return typed_at(value, found)
    if isinstance(value, dict):
        return {key: retyped(inner, below(found, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [retyped(inner, below(found, index)) for index, inner in enumerate(value)]
    if isinstance(value, bool | int | float):
        return _scalar(written(value), value, found)
    return value


def _scalar(text: str, value: Any, found: Sequence[Place]) -> Any:
    """The value of a scalar without quotes: `value` as YAML has it, or its text."""
    types = {place.type for place in found}
    if not types or types & {Any, object}:
        return value if _is_usual(text, value) else text
    if any(map(is_free_text, found)):
        return value if type(value) in types and _is_usual(text, value) else text
    if text in literals(found):
        return text
    if isinstance(value, bool):
        return value if bool in types or value in literals(found) else text
    return _number(text, found) if isinstance(value, str) else value


def _number(text: str, found: Sequence[Place]) -> Any:
    """A whole number that is written as `1e3`, for pydantic takes it for none; else the text."""
    whole = int in {place.type for place in found} and _POWER.fullmatch(text.strip())
    return float(text) if whole else text


def _is_usual(text: str, value: Any) -> bool:
    """Whether a number or a boolean has no other text, such as `007` and `True` have."""
    return not isinstance(value, str) and text in (written(value), str(value).lower())
