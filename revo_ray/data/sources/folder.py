"""Class folders: `cat/1.png`, or `train/cat/1.png` and `test/cat/2.png`."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace

from revo_ray.data.files.image_files import ImageFiles, root_error
from revo_ray.data.image_records import GivenSplit, Problem, Record, Source
from revo_ray.data.sources.class_and_split_names import SPLIT_NAMES, class_name, ordered_classes
from revo_ray.data.sources.class_folders import NO_CLASS, class_records, other_files, subfolders
from revo_ray.data.sources.root import needed_root, quoted, unread
from revo_ray.settings.schema import DataConfig


def read(config: DataConfig) -> Source:
    """Read the images below each class folder, at any depth; `data.root` may be an archive.

    Raises:
        UserError: there are fewer than two classes, a class is empty, or splits differ in classes.
    """
    files = ImageFiles.open(needed_root(config, "the folder or archive of the class folders"))
    folder = find_class_folders(files)
    source = read_class_folders(config, files, folder)
    inside = posixpath.join(folder, "")
    beside = (
        Problem(image.path, NO_CLASS)
        for image in files.images()
        if not image.path.startswith(inside)
    )
    return replace(
        source, problems=(*source.problems, *beside), warnings=tuple(other_files(files, ""))
    )


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
    splits = split_folders(files, folder)
    records: list[Record] = []
    problems: list[Problem] = []
    if splits:
        beside = (image for image in files.images() if posixpath.dirname(image.path) == folder)
        problems += [Problem(image.path, NO_CLASS) for image in beside]
    held: dict[str, set[str]] = {}
    for name, split in splits.items() or [("", None)]:
        place = posixpath.join(folder, name) if name else folder
        labels = {child: class_name(child) for child in subfolders(files, place)}
        if not labels:
            raise root_error(_no_classes(config, files, place))
        found = class_records(files, place, labels, split)
        records += found[0]
        problems += found[1]
        held[name] = set(labels.values())
    if config.splits == "given":
        _check_same_classes(held)
    classes = ordered_classes(label for labels in held.values() for label in labels)
    return Source(classes, tuple(records), (*files.problems, *problems))


def split_folders(files: ImageFiles, folder: str) -> dict[str, GivenSplit]:
    """Map the folders in a folder to splits; empty if they are not named for splits.

    Raises:
        UserError: other folders lie beside split folders, or two folders are for the same split.
    """
    children = subfolders(files, folder)
    splits = {
        name: SPLIT_NAMES[name.casefold()] for name in children if name.casefold() in SPLIT_NAMES
    }
    kinds = set(splits.values())
    if len(kinds) < 2:
        return {}
    others = [name for name in children if name not in splits]
    if "train" not in kinds:
        if others:
            return {}
        raise root_error(f"beside {quoted(children)} there is no folder 'train'")
    if others:
        raise root_error(
            f"beside the split folders {quoted(list(splits))} lie other folders: "
            f"{quoted(others)}; take either away"
        )
    if len(kinds) < len(splits):
        raise root_error(f"two of {quoted(children)} are the same split")
    return splits


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
            "(data.splits=drawn draws the splits from all images)"
        )


def _no_classes(config: DataConfig, files: ImageFiles, place: str) -> str:
    images = len(files.below(place).images())
    where = repr(place) if place else repr(config.root)
    held = f"{images:,} images, but no class folder" if images else "no class folder"
    return f"{where} holds {held}; give each class a folder of its own{unread(files)}"
