"""`data.group_by`: the group of an image by its path."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

from revo_ray.errors import UserError


def path_groups(group_by: int | str) -> Callable[[str], str | None]:
    """Make a function that returns the group of the image at a path; None: it stands alone.

    Args:
        group_by: level of a folder, 1 below the root, -1 around the image; or a regular expression
            whose first group, or match, names the group.

    Raises:
        UserError: the pattern is no regular expression.
    """
    if isinstance(group_by, int):
        level = group_by - 1 if group_by > 0 else group_by

        def at_level(path: str) -> str | None:
            folders = posixpath.dirname(path).split("/")
            whole = folders[: level + 1 or None]
            inside = -len(folders) <= level < len(folders)
            return "/".join(whole) if inside and any(whole) else None

        return at_level
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise UserError(
            f"{group_by!r} is no column of the table and no regular expression ({error})",
            key="data.group_by",
        ) from None

    def by_pattern(path: str) -> str | None:
        match = pattern.search(path)
        return match[1 if pattern.groups else 0] or None if match else None

    return by_pattern
