"""Durations as people write them: `2h`, `90m`, `45s`, `1h30m`, or a number of seconds."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)


def _read(value: Any, read: ValidatorFunctionWrapHandler) -> timedelta:
    """Read a duration; pydantic reads `PT1H30M`, as ISO 8601 has it, and numbers of seconds."""
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    elif isinstance(value, str) and not value.upper().startswith("P"):
        value = f"PT{value.replace(' ', '').upper()}"
    try:
        if isinstance(value, bool):
            raise ValueError("true and false are no durations")
        found: timedelta = read(value)
    except ValueError:
        raise ValueError(
            "give a time such as 2h, 90m, 45s or 1h30m, or a positive number of seconds"
        ) from None
    return found


Duration = Annotated[timedelta, Field(gt=timedelta(0)), WrapValidator(_read)]
"""A positive duration."""


def read_time(text: str) -> timedelta:
    """Read a positive duration.

    Raises:
        ValueError: the text is none; the message says how to write one.
    """
    try:
        return _DURATION.validate_python(text)
    except ValidationError as error:
        cause = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{text!r}: {cause}") from None


def time_text(time: timedelta) -> str:
    """Format a duration as `read_time` takes it: `90s`, `5m`, `2h`, `0.25s`."""
    seconds, rest = divmod(time, timedelta(seconds=1))
    if rest and seconds < 2**32:
        return f"{seconds}.{rest.microseconds:06d}".rstrip("0") + "s"
    if seconds >= 2**32:  # pydantic reads no more with a unit
        return str(seconds)
    if seconds % 60:
        return f"{seconds}s"
    return f"{seconds // 60}m" if seconds % 3600 else f"{seconds // 3600}h"


_DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
