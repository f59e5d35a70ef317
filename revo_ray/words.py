"""Numbers, durations, plans and values as users read them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def duration(seconds: float) -> str:
    """Format seconds as `8s`, `3m 05s` or `2h 07m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def rough_duration(seconds: float) -> str:
    """Format an estimate: to 5 seconds below a minute, then to about a twentieth."""
    steps = ((60, 5), (600, 15), (3600, 60), (36_000, 300))
    step = next((step for limit, step in steps if seconds < limit), 3600)
    return duration(max(1, round(seconds / step)) * step)


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


def without_home(text: str) -> str:
    """A text for others, with `~` in the place of the user's home folder, and of any below /home.

    A slash within base64 begins no path.
    """
    own = os.path.expanduser("~").rstrip("/")
    homes = [re.escape(own)] * own.startswith("/") + ["/(?:home|Users)/[^/\\s'\"`<>:,;)]+"]
    return re.sub(rf"(?:(?<![\w+/=.-])|(?<=:/)/?)(?:{'|'.join(homes)})(?![\w.-])", "~", text)


def counted(number: int, noun: str) -> str:
    """Format a count with its noun: `1 image`, `1,797 images`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def listed(names: Sequence[str], joint: str = "and") -> str:
    """Format names as a list: `a, b and c`."""
    return f" {joint} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def times(number: int) -> str:
    """Format how often something happened: `once`, `3 times`."""
    return "once" if number == 1 else f"{number:,} times"


def shown(value: Any, limit: int = 100) -> str:
    """Format a value for a message: its `repr`, cut to `limit` characters."""
    return cut(repr(value), limit)


def cut(text: str, limit: int = 100) -> str:
    """Cut a text that is longer than `limit` characters."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def spreadsheet_cell(value: Any) -> Any:
    """A value for a cell of a csv file: a text that a spreadsheet would compute gets a `'`.

    Numbers stay as they are, as texts too.

    Example:
        >>> spreadsheet_cell("=1+1"), spreadsheet_cell("-1"), spreadsheet_cell(-1)
        ("'=1+1", '-1', -1)
    """
    computed = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if computed else value


_FORMULA = re.compile("[\t\r\n]|\\s*[=+@\\-＝＋－＠]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def _one_digit(rate: float) -> str:
    """Format a rate as one digit and a power of ten: `3e-2`."""
    digit, _, power = f"{rate:.0e}".partition("e")
    return f"{digit}e{int(power)}"


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names that somebody may have meant by another: the nearest, if they are near.

    Near is a name with a few letters less, more, different or in another order, one that it begins
    or abbreviates, and one that it is a whole part of, as `binary` is of `revo-binary`. Case and
    punctuation do not count.

    Args:
        name: the name that is not known.
        known: the names that are, in the order in which equally near ones are given.
        most: how many to give, at most.
    """
    distances = [(_distance(name, each), each) for each in known]
    least = min((distance for distance, _ in distances), default=_FAR)
    return [each for distance, each in distances if distance == least < _FAR][:most]


def did_you_mean(names: Sequence[str]) -> str:
    """`; did you mean a or b?`, or nothing without names."""
    return f"; did you mean {listed(names, 'or')}?" if names else ""


_FAR = 100.0
_PARTS = re.compile(r"[^\W_]+")
_SHORTEST = 3
"""Letters of a name that may be the beginning of another, or a part of it."""


def _distance(name: str, known: str) -> float:
    """Letters to change until a name is the known one; `_FAR` if they are not near."""
    parts = [_PARTS.findall(text.casefold()) for text in (name, known)]
    short, long = ("".join(each) for each in parts)
    if not short or not long:
        return _FAR
    allowed = (min(len(short), len(long)) + 1) // 3
    edits = _edits(short, long, allowed)
    if edits <= allowed and edits < min(len(short), len(long)) - 1:
        return edits
    if len(short) < _SHORTEST:
        return _FAR
    if _holds(parts[1], parts[0]) or (_holds(parts[0], parts[1]) and len(long) >= _SHORTEST):
        return 10 + abs(len(parts[0]) - len(parts[1]))
    if long.startswith(short):
        return 30
    rest = iter(long)
    whole = (
        len(parts[0]) == 1 and short[0] == long[0] and len(short) > max(_SHORTEST, len(long) / 3)
    )
    return 40 if whole and all(letter in rest for letter in short) else _FAR


def _holds(parts: Sequence[str], some: Sequence[str]) -> bool:
    ends = range(len(some), len(parts) + 1)
    return any(parts[end - len(some) : end] == some for end in ends)


def _edits(a: str, b: str, most: int) -> int:
    """Letters that are missing, added, different or swapped with the next; above `most`, a bound.

    This is the optimal string alignment distance.
    """
    if abs(len(a) - len(b)) > most:
        return most + 1
    before, last = list[int](), list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y)))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[-1] = min(row[-1], before[j - 2] + 1)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return last[-1]
