"""Numbers, durations, plans and values as users read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def duration(seconds: float) -> str:
    """Format seconds as `8s`, `3m 05s` or `2h 07m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def plan_text(
    rates: Sequence[float],
    head: int = -1,
    weight_decay: float = 0.0,
    recipe: Mapping[str, float] | None = None,
) -> str:
    """Format a plan in one line: `12 of 50 units frozen, rates 1e-4…3e-2, head 1e-2`.

    Args:
        rates: learning rate of each unit, 0 if it is frozen. Without rates the text is empty.
        head: index of the classifier's unit.
        weight_decay: named if it is not 0.
        recipe: the plan's own training settings, `momentum 0.87`.
    """
    if not rates:
        return ""
    others = [rate for i, rate in enumerate(rates) if rate and i != head % len(rates)]
    frozen = sum(not rate for rate in rates)
    parts = [f"{frozen} of {len(rates)} units frozen"]
    if others:
        low, high = _one_digit(min(others)), _one_digit(max(others))
        parts.append(f"rate {low}" if low == high else f"rates {low}…{high}")
    parts.append(f"head {_one_digit(rates[head]) if rates[head] else 'frozen'}")
    if weight_decay:
        parts.append(f"weight decay {_one_digit(weight_decay)}")
    return ", ".join([*parts, *recipe_texts(recipe or {})])


def recipe_texts(recipe: Mapping[str, float]) -> list[str]:
    """Format the training settings of a plan: `momentum 0.87`, `label smoothing 0.1`."""
    return [f"{name.replace('_', ' ')} {value:.2g}" for name, value in recipe.items()]


def number_text(value: float | None) -> str:
    """Format a metric with four decimals; an undefined one as a dash."""
    return "–" if value is None else f"{value:.4f}"


def counted(number: int, noun: str) -> str:
    """Format a count with its noun: `1 image`, `1,797 images`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def times(number: int) -> str:
    """Format how often something happened: `once`, `3 times`."""
    return "once" if number == 1 else f"{number:,} times"


def shown(value: Any, limit: int = 100) -> str:
    """Format a value for a message: its `repr`, cut to `limit` characters."""
    return cut(repr(value), limit)


def cut(text: str, limit: int = 100) -> str:
    """Cut a text that is longer than `limit` characters."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def _one_digit(rate: float) -> str:
    """Format a rate as one digit and a power of ten: `3e-2`."""
    digit, _, power = f"{rate:.0e}".partition("e")
    return f"{digit}e{int(power)}"
