"""Reads JSON that anyone may have written: never slowly, and without numbers that break others."""

from __future__ import annotations

import json
import math
from typing import Any

from revo_ray.settings.safe_yaml import MAX_DEPTH

MAX_BYTES = 2**26
"""Longest text."""
MAX_VALUES = 2_000_000
"""Largest number of values."""
LARGEST = 2**1023
"""Largest integer; no float is much larger."""


def read_json(text: str | bytes, *, finite: bool = True) -> Any:
    """Read a JSON text.

    Args:
        text: the text.
        finite: refuse `NaN` and `Infinity`, which Python's `json` writes, and numbers as large.

    Raises:
        ValueError: it is not JSON, too long, too deep, or holds a number that is too large.
    """
    if len(text) > MAX_BYTES:
        raise ValueError("a JSON text that is too long")
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("a JSON text that is too deep") from None
    _check(values, finite)
    return values


def _check(values: Any, finite: bool) -> None:
    """Check depth, count and numbers, level by level."""
    level, count = [values], 0
    for _ in range(MAX_DEPTH + 1):
        count += len(level)
        if count > MAX_VALUES:
            raise ValueError("a JSON text of too many values")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, int) and abs(value) > LARGEST:
                raise ValueError("an integer that is too large")
            elif finite and isinstance(value, float) and not math.isfinite(value):
                raise ValueError("a number that is not finite")
        if not below:
            return
        level = below
    raise ValueError("a JSON text that is too deep")
