"""Paths of keys into a nested search space, and their names."""

from __future__ import annotations

from typing import Any

KeyPath = tuple[Any, ...]
"""Keys of dictionaries, and indices of lists and tuples, from the outside in."""


def variable_name(path: KeyPath) -> str:
    """The path as one text, with slashes. As in a JSON pointer, no two paths have the same one."""
    return "/".join(str(key).replace("~", "~0").replace("/", "~1") for key in path)


def slashed(path: KeyPath) -> str:
    """The path as Tune spells it flat, with slashes; other paths may be spelled so too."""
    return "/".join(map(str, path))


def key_text(path: KeyPath) -> str:
    """The path for messages: `net/depth`, or `['net/depth']` where a key holds a slash."""
    if any("/" in str(key) for key in path):
        return "".join(f"[{key!r}]" for key in path)
    return slashed(path)
