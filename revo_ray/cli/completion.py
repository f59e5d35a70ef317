"""Names that a shell completes: presets, keys of `--set` and the values of some."""

from __future__ import annotations

import io
import os
import types
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from revo_ray.settings.presets import preset_names
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig

VARIABLE = "_REVO_RAY_COMPLETE"
"""Variable in which a shell's function names the shell."""
BREAKS = ("=", ":")
"""Characters at which bash divides a word (COMP_WORDBREAKS), each a word of its own."""


def complete_config(incomplete: str) -> list[str]:
    """Presets of searches; the shell completes files where none fits."""
    return _starting([f"preset:{name}" for name in preset_names()], incomplete)


def complete_study(incomplete: str) -> list[str]:
    """Presets of studies."""
    return _starting([f"preset:{name}" for name in preset_names("study")], incomplete)


def complete_override(incomplete: str) -> list[str]:
    """Keys with their `=`; behind it, the values of keys that take a few."""
    key, equals, _ = incomplete.partition("=")
    if equals:
        return _starting([f"{key}={value}" for value in _values(key)], incomplete)
    keys = dict.fromkeys((*_keys(SearchConfig), *_keys(StudyConfig)))
    return _starting([f"{each}=" for each in keys], incomplete)


@contextmanager
def whole_words() -> Iterator[None]:
    """Complete words with `=` and `:` in bash, which hands them over and takes them in pieces."""
    if os.environ.get(VARIABLE) != "complete_bash":
        yield
        return
    words = os.environ.get("COMP_WORDS", "").split("\n")
    at = int(os.environ.get("COMP_CWORD", "0"))
    joined: list[str] = []
    for word in words[: at + 1]:
        if joined and (word in BREAKS or joined[-1].endswith(BREAKS)):
            joined[-1] += word
        else:
            joined.append(word)
    current = joined[-1]
    cut = max(current.rfind(each) for each in BREAKS) + 1
    os.environ |= {"COMP_WORDS": "\n".join(joined), "COMP_CWORD": str(len(joined) - 1)}
    shown = io.StringIO()
    try:
        with redirect_stdout(shown):
            yield
    finally:
        for line in shown.getvalue().splitlines():
            print(line[cut:])


def _starting(words: list[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _keys(section: type[BaseModel], above: str = "") -> Iterator[str]:
    """All keys of a configuration, dotted, and those of its methods."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys(kind, f"{above}{name}.")
        else:
            yield f"{above}{name}"
    if above == "method.":
        from revo_ray.methods import load_methods

        for method in load_methods().values():
            yield from (f"method.{name}" for name in method.Options.model_fields)


def _values(key: str) -> list[str]:
    if key == "method.name":
        from revo_ray.methods import load_methods

        return sorted(load_methods())
    kind: Any = SearchConfig
    for name in key.split("."):
        field = getattr(kind, "model_fields", {}).get(name)
        if field is None:
            return []
        kind = field.annotation
    choices = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else [kind]
    literals = [each for each in choices if get_origin(each) is Literal]
    flags = ["true", "false"] if bool in choices else []
    return [str(value) for each in literals for value in get_args(each)] + flags
