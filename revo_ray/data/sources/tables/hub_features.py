"""Types of columns that the library `datasets` notes in the metadata of parquet files."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from revo_ray.settings.safe_json import read_json


def columns_of_type(schema: pa.Schema, kind: str) -> list[str]:
    """Names of the columns of a type such as `Image` or `ClassLabel`."""
    return [name for name, feature in _features(schema).items() if feature.get("_type") == kind]


def class_label_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """Class names of a column of numbers; empty if the metadata does not say them."""
    feature = _features(schema).get(column, {})
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    try:
        features = read_json(schema.metadata[b"huggingface"])["info"]["features"]
        return {name: value for name, value in features.items() if isinstance(value, dict)}
    except (ValueError, TypeError, LookupError, AttributeError):
        return {}
