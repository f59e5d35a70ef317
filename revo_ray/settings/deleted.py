"""Keys that the configuration no longer has, and how a recorded one is read that still has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

DELETED: dict[str, Any] = {"resources.fuse": 1}
"""Each deleted key, dotted, with the default that it had."""


def read_back(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the provenance and the deleted keys out of a recorded configuration, in place.

    Args:
        values: all that `config.yaml` of a run directory or `study.yaml` of a study holds.

    Returns:
        the provenance, and the deleted keys that were not at their old defaults, with their
        values: this version can read the search, and cannot go on with it.

    Raises:
        AttributeError: the file holds no mapping.
    """
    drop_defaults(values)
    missed = {key: section.pop(name) for key, section, name in _deleted_in(values)}
    recorded = values.pop("recorded", None)
    return recorded if isinstance(recorded, dict) else {}, missed


def drop_defaults(values: dict[str, Any]) -> None:
    """Drop the deleted keys that stand at their old defaults, in place.

    The value `auto` stands for the one that was measured, if `recorded` holds that.

    Raises:
        AttributeError: the file holds no mapping.
    """
    recorded = values.get("recorded")
    measured = recorded if isinstance(recorded, dict) else {}
    for key, section, name in _deleted_in(values):
        value = measured.get(name) if section[name] == "auto" else section[name]
        if value == DELETED[key]:
            del section[name]


def _deleted_in(values: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each deleted key that is there, with the section that holds it and its name there."""
    for key in DELETED:
        *sections, name = key.split(".")
        section: Any = values
        for inner in sections:
            section = section.get(inner) if isinstance(section, dict) else None
        if isinstance(section, dict) and name in section:
            yield key, section, name
