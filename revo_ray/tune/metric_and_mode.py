"""Metric and mode of a searcher, which may be given in two places."""

from __future__ import annotations

from typing import Any

from revo_ray.words import shown


def check_metric(metric: Any) -> None:
    """Refuse a metric that is not the name of one value.

    Raises:
        ValueError: it is a list, or no text.
    """
    if isinstance(metric, list | tuple):
        raise ValueError(
            f"metric={shown(metric)}: CMAMVSearch optimises one value; report a weighted sum of "
            "them, and give its name"
        )
    if metric is not None and not (isinstance(metric, str) and metric):
        raise ValueError(f"metric={shown(metric)} is no name; give the key that trials report")


def check_mode(mode: Any) -> None:
    """Refuse a mode that is neither `min` nor `max`.

    Raises:
        ValueError: it is a list, or another word.
    """
    if mode is not None and (not isinstance(mode, str) or mode not in ("min", "max")):
        raise ValueError(
            f"mode={shown(mode)} is neither 'min' nor 'max'; give one of them, for the one metric"
        )


def agreed(
    name: str, ours: str | None, other: str | None, place: str = "tune.TuneConfig"
) -> str | None:
    """The value that was given in one of two places, or the same in both.

    Raises:
        ValueError: they differ.
    """
    if ours and other and ours != other:
        raise ValueError(
            f"{name} is {ours!r} for CMAMVSearch and {other!r} in {place}; give it in one place"
        )
    return ours or other
