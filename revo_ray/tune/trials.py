"""Trials and results of Tune, as a searcher reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.search.repeater import TRIAL_INDEX


def has_repeats(trials: Iterable[Trial]) -> bool:
    """Whether trials carry an index that Ray's `Repeater` gave them."""
    return any(TRIAL_INDEX in (getattr(each, "config", None) or {}) for each in trials)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested dictionaries, each under its path, with slashes."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value
