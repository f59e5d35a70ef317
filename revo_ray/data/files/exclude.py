"""`data.exclude`: patterns of paths that are left out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase


def excluder(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Make a function that tells whether a path below the root is left out.

    A pattern without a slash fits the name of a file or folder at any depth. One with a slash fits
    the path of a file or folder from the root, where `*` fits slashes too. Everything below a
    folder that fits is left out.

    Example:
        >>> left_out = excluder(["*_mask.*", "masks", "old/*"])
        >>> [left_out(p) for p in ("a/1_mask.png", "a/masks/1.png", "old/1.png", "a/old/1.png")]
        [True, True, True, False]
    """
    cut = [unicodedata.normalize("NFC", pattern).removeprefix("./") for pattern in patterns]
    rooted = [pattern.strip("/") for pattern in cut if "/" in pattern.rstrip("/")]
    names = [pattern.rstrip("/") for pattern in cut if "/" not in pattern.rstrip("/")]

    def left_out(path: str) -> bool:
        parts = unicodedata.normalize("NFC", path).split("/")
        whole = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        return any(fnmatchcase(part, name) for name in names for part in parts) or any(
            fnmatchcase(start, pattern) for pattern in rooted for start in whole
        )

    return left_out
