"""The columns of a table of images: which one holds the image, the label, the split, the group."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from revo_ray.data.files.image_files import without_password
from revo_ray.data.image_records import Finding, Topic
from revo_ray.data.sources.root import quoted
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

NAMES = {
    "image": ("path", "image", "img", "file", "filename", "filepath", "imagefile", "imagepath"),
    "label": ("label", "labels", "class", "classname", "category", "finelabel", "target"),
    "split": ("split",),
    "group": ("group",),
}
"""Names of each column, in lower case and without separators. The first is chosen before others."""

_MAY_BE_GROUPS = re.compile(
    "(patient|subject|person|individual|case|lesion|specimen|slide|scene|study|session|donor)"
    "(id|no|nr|number|name)?"
)


class Columns(NamedTuple):
    """Names of a table's columns; None: the table has no such column."""

    image: str
    label: str
    split: str | None
    group: str | None


def find_columns(
    there: Sequence[str],
    config: DataConfig,
    images: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> Columns:
    """Find the columns that `data.columns` names, or that have usual names.

    Args:
        there: names of all columns.
        config: configuration of the images.
        images: columns that hold images by their type.
        classes: columns that hold class labels by their type.

    Raises:
        UserError: the column of the image or the label is not there, or several may be it.
    """

    def role(name: str, typed: Sequence[str] = ()) -> str | None:
        if (wanted := config.columns.get(name)) is not None:  # type: ignore[call-overload]
            return _named(wanted, name, there, config)
        usual = [column for column in there if _plain(column) in NAMES[name]]
        first = [column for column in usual if _plain(column) == NAMES[name][0]]
        for candidates in (first, typed, usual):
            if len(candidates) == 1:
                return candidates[0]
        several = usual or typed
        if several and name in ("image", "label"):
            raise _column_error(f"{quoted(several)} may each be the {name}", name, there, config)
        return None

    by_type = len(images) == 1 and "image" not in config.columns
    image = images[0] if by_type else role("image", images)
    label = role("label", classes)
    if image is None or label is None:
        roles = ["image"] * (image is None) + ["label"] * (label is None)
        problem = f"no column is known to be the {' or the '.join(roles)}"
        raise _column_error(problem, ": NAME, ".join(roles), there, config)
    group = role("group")
    if isinstance(config.group_by, str):
        exact = [c for c in there if config.group_by in (c, c.strip())] or [
            c for c in there if c.lower() == config.group_by.strip().lower()
        ]
        group = exact[0] if exact else None
    elif config.group_by is not None:
        group = None
    return Columns(image, label, role("split"), group)


def unread_columns(there: Sequence[str], columns: Columns, config: DataConfig) -> list[Finding]:
    """Name the columns that are not read, and one that may say which images belong together."""
    unread = [name for name in there if name and name not in columns]
    if not unread:
        return []
    groups = [name for name in unread if _MAY_BE_GROUPS.fullmatch(_plain(name))]
    if groups and columns.group is None and config.group_by is None:
        text = (
            f"the column {groups[0]!r} may say which images belong together; with data.columns: "
            f"{{group: {groups[0]}}} they stay in one split"
        )
        return [Finding(Topic.GROUPS, text, "data.columns")]
    text = (
        f"columns not read: {quoted(unread)}; data.columns names the one that says which images "
        "belong together (group), and the one with the split (split)"
    )
    return [Finding(Topic.OTHER, text, "data.columns")]


def _named(wanted: str, role: str, there: Sequence[str], config: DataConfig) -> str:
    """Find the column that `data.columns` names, in any case if there is one only."""
    if wanted in there:
        return wanted
    alike = [name for name in there if name.strip().lower() == wanted.strip().lower()]
    if len(alike) != 1:
        raise _column_error(f"there is no column {wanted!r}", role, there, config)
    return alike[0]


def _column_error(problem: str, role: str, there: Sequence[str], config: DataConfig) -> UserError:
    columns = quoted([name for name in there if name], 20)
    text = (
        f"{without_password(repr(config.root))}: {problem}; its columns are {columns}; say which "
        f"with data.columns: {{{role}: NAME}}"
    )
    return UserError(text, key="data.columns")


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()
