"""Configurations that earlier versions recorded: keys that are gone, and values that changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

DELETED: dict[str, Any] = {"resources.fuse": 1}
"""Each deleted key, dotted, with the default that it had."""

_WRITTEN = frozenset({"batch_norm", "cache_mb", "time_limit", "validate_epochs"})
"""Keys of `train` that a `study.yaml` has if a study wrote it; people hardly name all of them."""


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
    keep_meaning(values)
    missed = {key: section.pop(name) for key, section, name in _deleted_in(values)}
    recorded = values.pop("recorded", None)
    return recorded if isinstance(recorded, dict) else {}, missed


def keep_meaning(values: dict[str, Any]) -> None:
    """Give keys the values that they had for the version that recorded them, in place.

    - Without `train.decay_all` weight decay acted on all that trained.
    - Of several GPUs of an evaluation all but one were idle.

    Args:
        values: as of `read_back`. A study that somebody wrote by hand is left as it is.
    """
    train, resources = values.get("train"), values.get("resources")
    recorded = "recorded" in values or (isinstance(train, dict) and train.keys() >= _WRITTEN)
    if not recorded:
        return
    if isinstance(train, dict):
        train.setdefault("decay_all", True)
    gpus = resources.get("gpus_per_trial") if isinstance(resources, dict) else None
    if isinstance(resources, dict) and isinstance(gpus, int | float) and gpus > 1:
        resources["gpus_per_trial"] = 1


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
