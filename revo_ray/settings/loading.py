"""Reads a configuration and its overrides, and explains errors by where each key was set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from revo_ray.credentials import refuse_credentials
from revo_ray.errors import UserError
from revo_ray.settings.deleted import DELETED, drop_defaults, keep_meaning
from revo_ray.settings.images_argument import PRESET, images_settings
from revo_ray.settings.override import fitted, typed
from revo_ray.settings.places import Place, is_free_text, places_at
from revo_ray.settings.presets import Kind, preset_names, read_preset
from revo_ray.settings.safe_yaml import MAX_DEPTH, problem_of, read_yaml
from revo_ray.settings.wanted import Fault, faults
from revo_ray.storage import Storage
from revo_ray.words import cut, did_you_mean, nearest, shown

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
    values, origins = _parse(text, label, config)
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
    parts = [_explain_one(fault, config, origins or {}) for fault in faults(error, config)]
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
        hint = did_you_mean([f"preset:{near}" for near in nearest(path.stem, preset_names(kind))])
        hint = hint or "; give a YAML file, a path of images or preset:NAME"
        raise UserError(
            f"cannot read the configuration {shown(str(path))}: {reason}{hint}"
        ) from None


def _parse(text: str, label: str, config: type[BaseModel]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a YAML text, and the origin of each dotted key."""
    try:
        values, node = read_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{label}{line}: {problem_of(error)}") from None
    if values is None or node is None:
        return {}, {}
    if not isinstance(values, dict):
        raise UserError(f"{label}: a configuration is a mapping of keys to values")
    values = fitted(node, values, [Place(config)])
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
    try:
        target[path[-1]] = typed(text, path, config)
    except UserError as error:
        raise UserError(f"{cut(key)}: {error} (from --set)") from None
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
            origin = _origin(key.split("."), origins)
            raise UserError(f"{error.args[0]}{origin}", key=key) from None


def _explain_one(fault: Fault, config: type[BaseModel], origins: Mapping[str, str]) -> str:
    key, origin = fault.key, _origin(fault.path, origins)
    if key in DELETED:
        return f"{key}={shown(fault.value)}: this key was removed; delete it{origin}"
    if not key:
        return str(fault)
    hint = _hint(fault, config)
    named = fault.value if isinstance(fault.value, Mapping) and fault.kind == "value" else {}
    origin = _origins_of_named(fault.message, key, named, origins) or origin
    return f"{cut(key)}: {fault}{hint}{origin}"


def _origins_of_named(
    message: str, section: str, values: Mapping[str, Any], origins: Mapping[str, str]
) -> str:
    """` (from …)` with the origins of the keys of a section that a message about it names."""
    words = set(re.findall(r"\w+", message))
    found = (origins.get(f"{section}.{name}") for name in values if name in words)
    places = dict.fromkeys(place for place in found if place)
    return f" (from {' and '.join(places)})" if places else ""


def _origin(path: Sequence[str], origins: Mapping[str, str]) -> str:
    """` (from …)` with the origin of a key, or of the nearest one that it stands below."""
    keys = (".".join(path[:length]) for length in range(len(path), 0, -1))
    found = next((origins[key] for key in keys if key in origins), "")
    return f" (from {found})" if found else ""


def _hint(fault: Fault, config: type[BaseModel]) -> str:
    """`; did you mean X?` for a key that does not exist, and for a section that is given a text."""
    if fault.kind == "unknown" and fault.message == "no such key":
        if any("." in part for part in fault.path):
            *sections, last = fault.key.split(".")
            return f"; in a file, write {last}: below {': '.join(sections)}:"
        return _nearest_key(fault.key, config)
    for place in places_at(config, fault.path) if isinstance(fault.value, str) else []:
        if isinstance(place.type, type) and issubclass(place.type, BaseModel):
            first = next(iter(place.type.model_fields))
            if any(map(is_free_text, places_at(place.type, [first]))):
                return did_you_mean([f"{fault.key}.{first}"])
    return ""


def _nearest_key(key: str, config: type[BaseModel]) -> str:
    """`; did you mean X?` for the known keys that are nearest to an unknown one, or nothing.

    Keys of the same section come first.
    """
    known = list(_keys(config, ""))
    section, _, last = key.rpartition(".")
    beside = [each for each in known if each.rpartition(".")[0] == section]
    for candidates in (beside, known):
        named: dict[str, list[str]] = {}
        for candidate in candidates:
            named.setdefault(candidate.rpartition(".")[2], []).append(candidate)
        if near := [each for name in nearest(last, named) for each in named[name]]:
            return did_you_mean(near)
    return ""


def _keys(section: type[BaseModel], prefix: str) -> Iterator[str]:
    """All dotted keys of a section and of the sections in it."""
    for name, field in section.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
