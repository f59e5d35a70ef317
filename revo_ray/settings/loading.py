"""Reads a configuration and its overrides, and explains errors by where each key was set."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from revo_ray.credentials import refuse_credentials
from revo_ray.errors import UserError
from revo_ray.settings.deleted import DELETED, drop_defaults, keep_meaning
from revo_ray.settings.images_argument import PRESET, images_settings
from revo_ray.settings.override import typed
from revo_ray.settings.presets import Kind, preset_names, read_preset
from revo_ray.settings.safe_yaml import MAX_DEPTH, read_yaml
from revo_ray.storage import Storage
from revo_ray.words import cut, shown

MOST_ERRORS = 10
"""Number of errors that one message lists."""


def read_values(
    source: str | Path | None, overrides: Iterable[str], kind: Kind, config: type[BaseModel]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the values of a configuration, not validated yet.

    Args:
        source: a file, `preset:NAME`, a path of images, or None for the quick start.
        overrides: `KEY=VALUE` texts.
        kind: which presets to look among.
        config: the configuration's class, whose types say which values are text.

    Returns:
        The values, and the origin of each dotted key that the user wrote: `FILE line N` or `--set`.
        The keys of a preset have no origin, for the user cannot change them there.

    Raises:
        UserError: the file cannot be read, an override is not `KEY=VALUE`, or a value holds
            credentials.
    """
    images = None if source is None else images_settings(str(source))
    text, label = _read_text(source if images is None else PRESET, kind)
    values, origins = _parse(text, label)
    if images is not None:
        values |= images | {"data": values.get("data", {}) | images["data"]}
        for key in ("data.source", "data.root"):
            origins.pop(key, None)
    if "recorded" in values or kind == "study":  # a study.yaml has no provenance
        drop_defaults(values)
        keep_meaning(values)
    values.pop("recorded", None)  # provenance, which a run directory's config.yaml holds
    for override in overrides:
        refuse_credentials(override.partition("=")[0], "--set")
        _apply_override(values, origins, override, config)
    _refuse_all_credentials(values, origins)
    return values, origins


def explain(
    error: ValidationError, config: type[BaseModel], origins: Mapping[str, str] | None = None
) -> str:
    """Explain in one line why values do not fit a configuration.

    Args:
        error: pydantic's error.
        config: the configuration's class, whose keys are suggested for unknown ones.
        origins: the origin of each dotted key.
    """
    each = (_explain_one(detail, config, origins or {}) for detail in error.errors())
    parts = list(dict.fromkeys(each))
    more = [f"and {len(parts) - MOST_ERRORS} more"] if len(parts) > MOST_ERRORS else []
    return "; ".join(parts[:MOST_ERRORS] + more)


def _read_text(source: str | Path | None, kind: Kind) -> tuple[str, str]:
    """The text of a configuration, and its name in error messages."""
    name = "preset:quickstart" if source is None else str(source)
    if name.startswith("preset:"):
        return read_preset(name.removeprefix("preset:"), kind), name
    path = Path(name)
    try:
        if "://" in name:
            return Storage(name).read("").decode("utf-8"), name
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text file"
        hint = f"; did you mean preset:{path.stem}?" if path.stem in preset_names(kind) else ""
        raise UserError(
            f"cannot read the configuration {shown(str(path))}: {reason}{hint}"
        ) from None


def _parse(text: str, label: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a YAML text, and the origin of each dotted key."""
    try:
        values, node = read_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise UserError(f"{label}{line}: {cut(problem, 300)}") from None
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise UserError(f"{label}: a configuration is a mapping of keys to values")
    if label.startswith("preset:"):
        return values, {}
    return values, {key: f"{label} line {line}" for key, line in _key_lines(node)}


def _key_lines(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Each dotted key below a node, with its line."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield f"{prefix}{key.value}", key.start_mark.line + 1
                yield from _key_lines(value, f"{prefix}{key.value}.")


def _apply_override(
    values: dict[str, Any], origins: dict[str, str], override: str, config: type[BaseModel]
) -> None:
    key, separator, text = override.partition("=")
    path = key.split(".")
    if not separator or not all(path) or len(path) > MAX_DEPTH + 1:
        raise UserError(
            f"--set {shown(override)}: write KEY=VALUE, for example search.evaluations=20"
        )
    target = values
    for depth, section in enumerate(path[:-1], start=1):
        inner = target.get(section)
        if not isinstance(inner, dict):
            inner = target[section] = {}
            origins[".".join(path[:depth])] = "--set"
        target = inner
    target[path[-1]] = typed(text, path, config)
    for below in [name for name in origins if name.startswith(f"{key}.")]:
        del origins[below]
    origins[key] = "--set"


def _refuse_all_credentials(value: Any, origins: Mapping[str, str], key: str = "") -> None:
    """Refuse credentials in any value, before another error message can repeat them."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _refuse_all_credentials(inner, origins, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for inner in value:
            _refuse_all_credentials(inner, origins, key)
    elif isinstance(value, str):
        try:
            refuse_credentials(value, key)
        except UserError as error:
            raise UserError(f"{error.args[0]}{_origin(key, origins)}", key=key) from None


def _explain_one(detail: ErrorDetails, config: type[BaseModel], origins: Mapping[str, str]) -> str:
    location = [str(part) for part in detail["loc"]]
    # Pydantic appends the members of a union to the location. They are not keys of the file.
    prefixes = [".".join(location[:n]) for n in range(len(location), 0, -1)]
    key = next((prefix for prefix in prefixes if prefix in origins), ".".join(location))
    origin = _origin(key, origins)
    if detail["type"] == "missing":
        key = ".".join(location)
    if key in DELETED:
        return f"{key}={shown(detail['input'])}: this key was removed; delete it{origin}"
    if detail["type"] == "extra_forbidden":
        return f"{cut(key)}: no such key{_nearest_key(key, config)}{origin}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if not key:
        return message
    value = detail["input"]
    but = "" if isinstance(value, Mapping | BaseModel) else f", not {shown(value)}"
    if isinstance(value, Mapping) and (named := _origins_of_named(message, key, value, origins)):
        origin = named
    return f"{cut(key)}: {message}{but}{origin}"


def _origins_of_named(
    message: str, section: str, values: Mapping[str, Any], origins: Mapping[str, str]
) -> str:
    """` (from …)` with the origins of the keys of a section that a message about it names."""
    words = set(re.findall(r"\w+", message))
    found = (origins.get(f"{section}.{name}") for name in values if name in words)
    places = dict.fromkeys(place for place in found if place)
    return f" (from {' and '.join(places)})" if places else ""


def _origin(key: str, origins: Mapping[str, str]) -> str:
    return f" (from {origins[key]})" if key in origins else ""


def _nearest_key(key: str, config: type[BaseModel]) -> str:
    """`; did you mean X?` for the known key that is nearest to an unknown one, or nothing."""
    known = list(_keys(config, ""))
    by_last = {candidate.rpartition(".")[2]: candidate for candidate in reversed(known)}
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if not close:
        last = difflib.get_close_matches(key.rpartition(".")[2], by_last, n=1, cutoff=0.6)
        close = [by_last[last[0]]] if last else []
    return f"; did you mean {close[0]}?" if close else ""


def _keys(section: type[BaseModel], prefix: str) -> Iterator[str]:
    """All dotted keys of a section and of the sections in it."""
    for name, field in section.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
