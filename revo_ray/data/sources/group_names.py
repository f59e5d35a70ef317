"""Groups that the paths of images name: patients, subjects, scenes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import median

from revo_ray.data.files.image_files import root_error
from revo_ray.data.image_records import Finding, Record, Topic
from revo_ray.data.sources.class_and_split_names import split_name
from revo_ray.data.sources.root import quoted
from revo_ray.data.sources.split_folders import WITHIN_A_CLASS
from revo_ray.words import counted

KEY = "data.group_by"

FIRST_NUMBER = "([^/]*?[0-9]+)[-_ ][^/]*$"
"""The beginning of a file's name, to its first number: `patient12` of `patient12_03.png`."""

_COUNTERS = frozenset(
    ("img", "image", "images", "pic", "photo", "dsc", "dscn", "dscf", "pxl", "screenshot", "scan")
)
"""Words, in lower case, that cameras and programs put before a date or a counter."""

_VIEWS = 8
"""Most folders of the same names in every class that are taken for views, not for groups."""


def group_of(group_by: int | str) -> Callable[[str], str | None]:
    r"""Make a function that names the group of a path, as `data.group_by` says.

    A group has the same name in every class and split folder, since a patient may have images of
    several classes. A pattern over more of the path tells such folders apart: `^([^/]+/[^/]+)/`.

    Example:
        >>> [group_of(by)("cat/rex/1.png") for by in (1, 2, 3, -1, r"/(r\w+)/", "q")]
        ['cat', 'rex', None, 'rex', 'rex', None]

    Raises:
        UserError: level 0, or text that is no regular expression.
    """
    text = str(group_by)
    if not re.fullmatch("[+-]?[0-9]+", text):
        try:
            pattern = re.compile(text)
        except re.error as error:
            raise root_error(f"{text!r} is no regular expression: {error}", KEY) from None
        return lambda path: _matched(pattern, path)
    level = int(text)
    if level == 0:
        raise root_error(
            "there is no level 0: 1 is the folder below the root, -1 the last one", KEY
        )

    def folder_at(path: str) -> str | None:
        folders = path.split("/")[:-1]
        place = level - 1 if level > 0 else level
        return folders[place] if -len(folders) <= place < len(folders) else None

    return folder_at


def group_records(records: Iterable[Record], group_by: int | str) -> tuple[Record, ...]:
    """Put records into the groups that `data.group_by` names.

    Raises:
        UserError: no image has a group, or the groups are the classes; or as `group_of`.
    """
    find = group_of(group_by)
    grouped = tuple(replace(record, group=find(record.name)) for record in records)
    pairs = {(record.group, record.label) for record in grouped}
    groups, labels = {group for group, _ in pairs}, {label for _, label in pairs}
    if grouped and groups == {None}:
        name = grouped[0].name
        raise root_error(f"{group_by!r} names no group in any path, such as {name!r}", KEY)
    if len(labels) > 1 and len(pairs) == len(groups) == len(labels):
        raise root_error(
            f"{group_by!r} names the class of each image ({quoted(sorted(map(str, groups)), 3)}); "
            "name something within the classes",
            KEY,
        )
    return grouped


def group_finding(records: Sequence[Record]) -> Finding | None:
    """Warn of folders, or beginnings of file names, that may be patients, subjects or scenes."""
    if not records or any(record.group is not None for record in records):
        return None
    below = [_folders_in_class(record) for record in records]
    levels: dict[int, dict[str, str]] = {}
    for record, (first, folders) in zip(records, below, strict=True):
        for i, folder in enumerate(folders):
            levels.setdefault(first + i, {})[record.name] = folder
    labels = {record.name: record.label for record in records}
    found = [level for level in sorted(levels) if _may_be_groups(levels[level], labels)]
    if found:
        folders = sorted(set(levels[found[0]].values()))
        others = f" (or {', '.join(map(str, found[1:]))})" if found[1:] else ""
        text = (
            f"{counted(len(folders), 'folder')} below the class folders, such as {folders[0]!r}, "
            f"may each be a patient, subject or scene: data.group_by: {found[0]}{others} keeps the "
            "images of each in one split"
        )
        return Finding(Topic.GROUPS, text, KEY)
    find = group_of(FIRST_NUMBER)
    named = {record.name: group for record in records if (group := find(record.name))}
    if 2 * len(named) >= len(records) and _may_be_groups(named, labels):
        starts = sorted(set(named.values()))
        text = (
            f"file names begin alike, such as {starts[0]!r}, and may each name a patient, subject "
            f"or scene: data.group_by: '{FIRST_NUMBER}' keeps the images of each in one split"
        )
        return Finding(Topic.GROUPS, text, KEY)
    return None


def _matched(pattern: re.Pattern[str], path: str) -> str | None:
    match = pattern.search(path)
    if match is None:
        return None
    return (match[1] if pattern.groups else match[0]) or None


def _folders_in_class(record: Record) -> tuple[int, list[str]]:
    """Level of the first folder below the class folder of an image, and the folders from there."""
    folders = record.name.split("/")[:-1]
    level = folders.index(record.label) + 1 if record.label in folders else len(folders)
    return level + 1, folders[level:]


def _may_be_groups(group_of_image: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether names of parts look like groups: several in most classes, of several images each."""
    sizes = Counter(group_of_image.values())
    within: dict[str, set[str]] = defaultdict(set)
    for name, group in group_of_image.items():
        within[labels[name]].add(group)
    several = sum(len(groups) > 1 for groups in within.values())
    if len(sizes) < 3 or median(sizes.values()) < 2 or 2 * several < len(set(labels.values())):
        return False
    if all(_says_nothing(group) for group in sizes):
        return False
    alike = len(within) > 1 and len({frozenset(groups) for groups in within.values()}) == 1
    return not (alike and len(sizes) <= _VIEWS)


def _says_nothing(name: str) -> bool:
    word = re.sub(r"[\W\d_]+$", "", re.split(r"[-_ ]?\d", name)[0]).casefold()
    return name.casefold() in WITHIN_A_CLASS or word in _COUNTERS or split_name(name) is not None
