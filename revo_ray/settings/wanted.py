"""Errors of values in this project's words: the key, the values that it takes, and the given one.

Both the configuration and the methods' options are checked by pydantic. Its own sentences name its
types and parsers, and it says one for each member of a union; here a key has one sentence.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, core_schema

from revo_ray.settings.places import Place, below, is_null, places
from revo_ray.words import cut, listed, shown

OWN_WORDS = ("value_error", "assertion_error")
"""Kinds of errors whose sentence was written in a validator of ours, or of a plugin."""
_PYDANTICS = frozenset(get_args(core_schema.ErrorType)) - {*OWN_WORDS}


@dataclass(frozen=True)
class Fault:
    """A fault of one key.

    Attributes:
        path: sections and key; empty for a fault of the whole.
        message: without the key and the value.
        value: the value that was given.
        kind: `unknown` and `missing` for keys; else `value`.
    """

    path: tuple[str, ...]
    message: str
    value: Any
    kind: Literal["unknown", "missing", "value"] = "value"

    @property
    def key(self) -> str:
        """The key, dotted."""
        return ".".join(self.path)

    def __str__(self) -> str:
        if self.kind != "value" or isinstance(self.value, Mapping | BaseModel):
            return self.message
        return f"{self.message}, not {as_written(self.value)}"


def faults(error: ValidationError, section: type[BaseModel]) -> list[Fault]:
    """The faults that an error tells, one for each key.

    Args:
        error: pydantic's error.
        section: the class that checked the values.
    """
    found: dict[tuple[str, ...], Fault] = {}
    for detail in error.errors():
        fault = _fault(detail, section)
        before = found.get(fault.path)
        # The member of a union that has a sentence of its own knows best.
        if before is None or (detail["type"] not in _PYDANTICS and before.message[-6:] == "wanted"):
            found[fault.path] = fault
    # A member of a union that takes sections names the key below; the others cannot.
    inner = {path[:length] for path in found for length in range(1, len(path))}
    return [fault for path, fault in found.items() if path not in inner]


def _fault(detail: ErrorDetails, section: type[BaseModel]) -> Fault:
    value, kind = detail["input"], detail["type"]
    if kind == "extra_forbidden":
        return Fault(tuple(map(str, detail["loc"])), "no such key", value, "unknown")
    location = detail["loc"]
    if kind == "missing" and isinstance(location[-1], int):  # a list that is too short
        location = location[:-1]
    path, found = _place(location, section)
    if kind == "missing" and location == detail["loc"]:
        return Fault(path, "this key is missing", value, "missing")
    if kind not in _PYDANTICS:
        message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        return Fault(path, message[:1].lower() + message[1:], value)
    if detail["loc"][-1:] == ("[key]",):
        keys = wanted([inner for place in found for inner in _keys_of(place)])
        return Fault((*path, str(value)), f"no such key; give {keys}", value, "unknown")
    return Fault(path, f"{wanted(found)} is wanted", value)


def _place(
    location: Sequence[str | int], section: type[BaseModel]
) -> tuple[tuple[str, ...], list[Place]]:
    """The path of keys of an error, and the types there; pydantic also names members of unions."""
    found, path = [Place(section)], list[str]()
    before, tagged = found, False
    for part in location:
        if part == "[key]":
            path.pop()
            return tuple(path), before
        if not tagged and sum(not is_null(place) for place in found) > 1:
            tagged = True  # this part names a member
            continue
        before, found, tagged = found, below(found, part), False
        path.append(str(part))
    return tuple(path), found


def _keys_of(place: Place) -> Iterator[Place]:
    if place.kind is dict and get_args(place.type):
        yield from places(get_args(place.type)[0])


def wanted(found: Sequence[Place]) -> str:
    """The values that some types take: `a number above 0, 'auto' or null`."""
    names = dict.fromkeys(name for place in found for name in _names(place))
    return listed([*names], "or") or "another value"


def _names(place: Place) -> Iterator[str]:
    kind = place.kind
    if kind is Literal:
        yield from map(as_written, get_args(place.type))
    elif is_null(place):
        yield "null"
    elif not isinstance(kind, type):
        yield "another value"
    elif issubclass(kind, enum.Enum):
        yield from (as_written(member.value) for member in kind)
    elif issubclass(kind, list | tuple | set | frozenset):
        yield f"a list{_items(place)}"
    elif issubclass(kind, Mapping | BaseModel):
        yield "a mapping of keys to values"
    else:
        yield f"{_NOUNS.get(kind, f'a {kind.__name__}')}{_range(place)}"


_NOUNS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    datetime.timedelta: "a time such as 2h or 90m",
}
_PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts"}


def _items(place: Place) -> str:
    """` of two numbers above 0`, for a list of such items."""
    arguments = [argument for argument in get_args(place.type) if argument is not Ellipsis]
    fixed = place.kind is tuple and Ellipsis not in get_args(place.type)
    count = {2: "two ", 3: "three "}.get(len(arguments), f"{len(arguments)} ") if fixed else ""
    inner = [item for argument in arguments[:1] for item in places(argument)]
    least = _limit(place, "min_length")
    most = _limit(place, "max_length")
    lengths = f" of {least} or more" if least else ""
    lengths += f" of {most} or less" if most is not None else ""
    if len(inner) != 1 or inner[0].type not in _PLURALS:
        return lengths and f"{lengths} values"
    return f"{lengths or ' of'} {count}{_PLURALS[inner[0].type]}{_range(inner[0])}"


def _range(place: Place) -> str:
    """` from 0 to 1`, for a number with such limits."""
    if place.type is str and _limit(place, "min_length"):
        return " that is not empty"
    if place.type is datetime.timedelta:
        return ""
    ge, gt, le, lt = (_limit(place, name) for name in ("ge", "gt", "le", "lt"))
    if lt is not None and place.type is int:
        le, lt = lt - 1, None
    lower = "" if gt is None else f"above {_figure(gt)}"
    if ge is not None:
        lower = f"from {_figure(ge)}" if (le, lt) != (None, None) else f"of at least {_figure(ge)}"
    upper = "" if lt is None else f"below {_figure(lt)}"
    if le is not None:
        upper = f"{'' if ge is not None else 'at most '}{_figure(le)}"
    joint = " to " if ge is not None else " and "
    return "".join(f" {text}" for text in [joint.join(filter(None, (lower, upper)))] if text)


def _limit(place: Place, name: str) -> Any:
    found = (getattr(mark, name, None) for mark in place.marks)
    return next((limit for limit in found if limit is not None), None)


def _figure(limit: Any) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"


def as_written(value: Any) -> str:
    """A value for a message: null and booleans as YAML has them, and texts in quotes."""
    if isinstance(value, list):
        return cut(f"[{', '.join(map(as_written, value[:100]))}]")
    known = {None: "null", True: "true", False: "false"}
    return known[value] if value is None or isinstance(value, bool) else shown(value)
