"""Name the table of a source's images by a hash of all that its bytes depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from revo_ray.data.image_records import Problem, Record, Source
from revo_ray.settings.schema import DataConfig

FORMAT = 3
"""Version of the table's format: raise it when the same source would give other bytes."""

SURVEY_FORMAT = 1
"""Version of what a survey remembers: raise it when squares or hashes come out otherwise."""


def table_path(
    config: DataConfig,
    source: Source,
    records: Sequence[Record],
    contents: Iterable[str | Problem],
    folder: Path,
) -> Path:
    """Path of the table of these records, which may not exist yet.

    Args:
        config: configuration of the images.
        source: source of the records.
        records: image records.
        contents: digest of each record's content, or the problem that keeps it from being read.
        folder: folder of the tables.
    """
    settings = [FORMAT, config.source, config.image_size, config.on_bad_image]
    rows = (
        [record.name, record.label, record.group, record.split, content]
        for record, content in zip(records, contents, strict=True)
    )
    settings += _others(config, "near_duplicates", "fit", "intensity", "max_pixels")
    if config.near_duplicates != "warn" and config.splits != "given":
        settings.append(["splits", config.splits])  # given splits are not joined, drawn ones are
    key = _hash(settings, source.classes, source.problems, *rows)
    return folder / f"{key}.arrow"


def survey_name(config: DataConfig) -> str:
    """Name of the file that remembers the pictures of a source."""
    decoding = [SURVEY_FORMAT, config.source, config.root, config.image_size]
    return f"{_hash(decoding + _others(config, 'fit', 'max_pixels'))}.survey"


def _others(config: DataConfig, *keys: str) -> list[Any]:
    """The keys that have another value than the default: a new key renames no table."""
    defaults = DataConfig.model_fields
    values = ((key, getattr(config, key)) for key in keys)
    return [[key, value] for key, value in values if value != defaults[key].default]


def _hash(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(json.dumps(part).encode() + b"\n")
    return digest.hexdigest()[:24]
