"""Types that a configuration takes at a key, with unions resolved."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


@dataclass(frozen=True)
class Place:
    """One of the types that a value may have.

    Attributes:
        type: a type, without unions and `Annotated`.
        marks: metadata of the type: bounds, lengths and validators.
    """

    type: Any
    marks: tuple[Any, ...] = ()

    @property
    def kind(self) -> Any:
        """The type without its arguments: `list` for `list[str]`."""
        return get_origin(self.type) or self.type


@dataclass(frozen=True)
class KeysOf:
    """Marks a mapping that has the keys of a section, and a `label`."""

    section: type[BaseModel]


def places(annotation: Any, marks: Sequence[Any] = ()) -> Iterator[Place]:
    """Yield the types that an annotation stands for."""
    arguments = get_args(annotation)
    marks = [each for mark in marks for each in getattr(mark, "metadata", (mark,))]
    if get_origin(annotation) is Annotated:
        yield from places(arguments[0], (*marks, *arguments[1:]))
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in arguments:
            yield from places(member, marks)
    else:
        yield Place(annotation, tuple(marks))
        if any(getattr(mark, "takes_null", False) for mark in marks):
            yield Place(type(None))


def below(found: Sequence[Place], name: str | int) -> list[Place]:
    """The types below those: of a key of a section or mapping, or of an item of a list."""
    return [inner for place in found for inner in _below(place, name)]


def places_at(section: type[BaseModel], path: Sequence[str | int]) -> list[Place]:
    """The types at a path below a section; none if it is not known there."""
    found = [Place(section)]
    for name in path:
        found = below(found, name)
    return found


def _below(place: Place, name: str | int) -> Iterator[Place]:
    arguments = get_args(place.type)
    if isinstance(place.type, type) and issubclass(place.type, BaseModel):
        field = place.type.model_fields.get(str(name))
        if field is not None:
            yield from places(field.annotation, field.metadata)
    elif place.kind is dict:
        sections = [mark.section for mark in place.marks if isinstance(mark, KeysOf)]
        if sections and name == "label":
            yield Place(str)
        elif sections:
            yield from _below(Place(sections[0]), name)
        elif arguments:
            yield from places(arguments[1])
    elif place.kind in (list, tuple) and arguments and isinstance(name, int):
        if place.kind is tuple and arguments[-1] is not Ellipsis:
            arguments = arguments[name : name + 1]
        for item in arguments[:1]:
            yield from places(item)


def is_free_text(place: Place) -> bool:
    """Whether a type takes any text."""
    return isinstance(place.type, type) and issubclass(place.type, str)


def is_null(place: Place) -> bool:
    """Whether a type is null."""
    return place.type in (None, type(None))


def takes_many(found: Sequence[Place]) -> bool:
    """Whether a list or a mapping is among the types."""
    kinds = [place.kind for place in found]
    return any(
        isinstance(kind, type) and issubclass(kind, list | tuple | dict | BaseModel)
        for kind in kinds
    )


def literals(found: Sequence[Place]) -> tuple[Any, ...]:
    """The values that literals among the types name."""
    return tuple(value for p in found if p.kind is Literal for value in get_args(p.type))
