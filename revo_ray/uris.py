"""Paths and URIs as texts: their parts, and those that are refused."""

from __future__ import annotations

import unicodedata

from revo_ray.errors import UserError
from revo_ray.words import shown

LONGEST_NAME, LONGEST_PATH = 255, 3800
"""Bytes of a name and of a path, below which there is room for the files of a search."""


def refuse_odd(uri: str, key: str) -> None:
    """Refuse paths that cannot be written, printed or pasted as they are.

    Args:
        uri: a path or URI.
        key: the configuration key that holds it; the error names this key.

    Raises:
        UserError: it is no UTF-8, has control characters, or is too long.
    """
    try:
        parts = uri.encode().split(b"/")
    except UnicodeEncodeError:
        problem = "is no UTF-8 text; rename the folder"
    else:
        problem = ""
        if any(unicodedata.category(letter) == "Cc" for letter in uri):
            problem = "holds a line break or another control character; rename the folder"
        elif max(map(len, parts)) > LONGEST_NAME or sum(map(len, parts)) > LONGEST_PATH:
            problem = f"is too long: {LONGEST_NAME} bytes for a name, {LONGEST_PATH} in all"
    if problem:
        raise UserError(f"{shown(uri)} {problem}", key=key)


def divided(uri: str) -> tuple[str, str]:
    """A URI without its options, and these with their `?`; a path is whole, with any `?` in it.

    Example:
        >>> divided("s3://bucket/run?region=x"), divided("run?")
        (('s3://bucket/run', '?region=x'), ('run?', ''))
    """
    place, mark, options = uri.partition("?" if "://" in uri else "\0")
    return place, mark + options


def folder_name(uri: str) -> str:
    """The last part of a path or URI."""
    return divided(uri)[0].rstrip("/").rpartition("/")[2]
