"""Class folders: `cat/1.png`, or `train/cat/1.png` and `test/cat/2.png`."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace

from revo_ray.data.files.image_files import ImageFiles, root_error
from revo_ray.data.image_records import Problem, Record, Source
from revo_ray.data.sources.class_and_split_names import class_name, ordered_classes
from revo_ray.data.sources.class_folders import (
    NO_CLASS,
    check_filled,
    class_records,
    other_files,
    subfolders,
)
from revo_ray.data.sources.root import open_files, quoted, unread
from revo_ray.data.sources.split_folders import find_parts, inner_splits
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig


def read(config: DataConfig) -> Source:
    """Read the images below each class folder, at any depth; `data.root` may be an archive.

    Raises:
        UserError: there are fewer than two classes, a class is empty, or splits differ in classes.
    """
    files = open_files(config, "the folder or archive of the class folders")
    folder = find_class_folders(files)
    try:
        source = read_class_folders(config, files, folder)
    except UserError as error:
        raise UserError(f"{error.args[0]}{_tables(files)}", key=error.key) from None
    inside = posixpath.join(folder, "")
    beside = (
        Problem(image.path, NO_CLASS)
        for image in files.images()
        if not image.path.startswith(inside)
    )
    warnings = (*source.warnings, *other_files(files, ""))
    return replace(source, problems=(*source.problems, *beside), warnings=warnings)


def _tables(files: ImageFiles) -> str:
    """End an error about class folders: name the tables that may have the labels, if any."""
    endings = (".csv", ".tsv", ".parquet")
    tables = [file.path for file in files.all if file.path.lower().endswith(endings)]
    return f"; or read the labels from a table that lies there: {quoted(tables, 3)}" * bool(tables)


def find_class_folders(files: ImageFiles) -> str:
    """Find the folder that holds the class or split folders: the root, or one in wrappers.

    A wrapper is a folder that lies alone in its parent, and holds folders but no images.
    """
    holders = {posixpath.dirname(image.path) for image in files.images()}
    folder = ""
    while len(inner := subfolders(files, folder)) == 1:
        folder = posixpath.join(folder, inner[0])
        if folder in holders:
            return ""
    return folder if inner else ""


def read_class_folders(config: DataConfig, files: ImageFiles, folder: str) -> Source:
    """Read the images of the class folders in a folder, or in the split folders in it.

    Images that lie beside these folders are problems. Files elsewhere are not read.

    Raises:
        UserError: as `read`.
    """
    parts = find_parts(config, files, folder)
    if parts.left_out:
        out = tuple(posixpath.join(place, "") for place in parts.left_out)
        files = files.without(lambda path: posixpath.join(path, "").startswith(out))
    records: list[Record] = []
    problems: list[Problem] = []
    empty: list[str] = []
    if folder not in parts.places:
        inside = tuple(posixpath.join(place, "") for place in parts.places)
        above = posixpath.join(folder, "")
        problems += [
            Problem(image.path, NO_CLASS)
            for image in files.images()
            if image.path.startswith(above) and not image.path.startswith(inside)
        ]
    held: dict[str, set[str]] = {}
    for place, split in parts.places.items():
        labels = {child: class_name(child) for child in subfolders(files, place)}
        if not labels:
            raise root_error(_no_classes(config, files, place))
        found, beside, unfilled = class_records(files, place, labels, split)
        if place == folder and (splits := inner_splits(config, files, folder, labels)):
            found = [replace(r, split=splits[_within(r.name, place)]) for r in found]
        records += found
        problems += beside
        empty += unfilled
        held[place] = set(labels.values())
    check_filled(empty, config, files)
    if config.splits != "drawn":
        _check_same_classes(held)
    classes = ordered_classes(label for labels in held.values() for label in labels)
    return Source(classes, tuple(records), (*files.problems, *problems), tuple(parts.findings))


def _within(path: str, place: str) -> str:
    """Name of the folder in the class folder of an image."""
    return path[len(posixpath.join(place, "")) :].split("/")[1]


def _check_same_classes(held: Mapping[str, set[str]]) -> None:
    """Check that every split folder holds every class."""
    classes = set().union(*held.values())
    lacks = [
        f"{name!r} lacks {quoted(sorted(classes - labels))}"
        for name, labels in held.items()
        if labels != classes
    ]
    if lacks:
        raise root_error(
            f"each split must hold the same classes, and {'; '.join(lacks)} "
            "(data.splits: drawn draws the splits from all images)",
            "data.splits",
        )


def _no_classes(config: DataConfig, files: ImageFiles, place: str) -> str:
    images = len(files.below(place).images())
    where = repr(place) if place else repr(config.root)
    held = f"{images:,} images, but no class folder" if images else "no class folder"
    return (
        f"{where} holds {held}; give each class a folder of its own (or say data.splits: {{}} if "
        f"{where} is one){unread(files)}"
        if place and config.splits != {}
        else f"{where} holds {held}; give each class a folder of its own{unread(files)}"
    )
