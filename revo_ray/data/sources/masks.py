"""Masks: images that say of other images where something is."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence

from revo_ray.data.files.exclude import excluder
from revo_ray.data.image_records import Finding, Record, Topic
from revo_ray.words import counted

_WORD = "masks?|segmentations?|segmented|segs?|gts?|ground[-_ ]?truths?|annotations?|labels?"
_SUFFIX = re.compile(rf"(?P<stem>.+?)(?P<mark>[-_. ](?:{_WORD}))(?P<number>[-_ ]?[0-9]+)?", re.I)
_PREFIX = re.compile(rf"(?P<mark>(?:{_WORD})[-_. ])(?P<stem>.+)", re.I)
_FOLDER = re.compile(rf"(?:.+[-_ ])?(?:{_WORD})", re.I)
_PICTURES = re.compile("images?|imgs?|pictures?|photos?|scans?|raw|originals?", re.I)


def mask_finding(records: Sequence[Record]) -> Finding | None:
    """Warn of masks: `x_mask.png` beside `x.png`, or a folder of masks in a class folder.

    The finding counts the images that its `data.exclude` leaves out.
    """
    names = [record.name for record in records]
    stems = {posixpath.splitext(name)[0].casefold() for name in names}
    patterns: dict[str, None] = {}
    folders: dict[tuple[str, bool], set[str]] = defaultdict(set)
    for record in records:
        folder, file = posixpath.split(record.name)
        stem = posixpath.splitext(file)[0]
        if (match := _SUFFIX.fullmatch(stem)) and _join(folder, match["stem"]) in stems:
            patterns[f"*{match['mark']}" + ("[-_ 0-9]*.*" if match["number"] else ".*")] = None
        elif (match := _PREFIX.fullmatch(stem)) and _join(folder, match["stem"]) in stems:
            patterns[f"{match['mark']}*.*"] = None
        parts = folder.split("/")
        inside = parts.index(record.label) if record.label in parts else len(parts)
        for i, part in enumerate([*parts, ""]):  # "" stands for the images themselves
            folders["/".join(parts[:i]), i > inside].add(part)
    for (_, in_class), held in folders.items():
        patterns.update(dict.fromkeys(_mask_folders(held, in_class=in_class)))
    if not patterns:
        return None
    found = sum(map(excluder(patterns), names))
    shown = ", ".join(f'"{pattern}"' for pattern in patterns)
    masks, them = counted(found, "possible mask"), "it" if found == 1 else "them"
    text = f"{masks} among the images: data.exclude: [{shown}] leaves {them} out"
    return Finding(Topic.MASKS, text, "data.exclude")


def _mask_folders(held: set[str], *, in_class: bool) -> list[str]:
    """Folders of masks among the folders that lie in one folder beside folders of pictures."""
    masks = sorted(name for name in held if _FOLDER.fullmatch(name))
    pictures = held.difference(masks)
    beside_pictures = in_class or any(map(_PICTURES.fullmatch, pictures))
    return masks if pictures and beside_pictures else []


def _join(folder: str, stem: str) -> str:
    return posixpath.join(folder, stem).casefold()
