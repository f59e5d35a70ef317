"""Class folders: `cat/1.png`, or `train/cat/1.png` and `test/cat/2.png`."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace

from revo_ray.data.files.image_files import Tree
from revo_ray.data.records import GivenSplit, Problem, Record, Source
from revo_ray.data.sources.class_folders import NO_CLASS, class_records, other_files, subfolders
from revo_ray.data.sources.common import (
    SPLIT_WORDS,
    in_order,
    label_of,
    needed_root,
    quoted,
    shown_root,
    unread,
)
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig


def read(config: DataConfig) -> Source:
    """The images below each class folder, at any depth; `data.root` may be an archive.

    Raises:
        UserError: there are not two classes, one of them is empty, or splits differ in theirs.
    """
    tree = Tree.open(needed_root(config, "the folder or zip archive of the class folders"))
    root = class_root(tree)
    source = read_tree(config, tree, root)
    inside = posixpath.join(root, "")
    beside = (
        Problem(image.path, NO_CLASS)
        for image in tree.images()
        if not image.path.startswith(inside)
    )
    return replace(
        source, problems=(*source.problems, *beside), warnings=tuple(other_files(tree, ""))
    )


def class_root(tree: Tree) -> str:
    """The folder that holds the class or split folders: the root, or a wrapper's inside.

    A wrapper is a folder that is alone in its own and holds folders, but no images, itself.
    """
    holders = {posixpath.dirname(image.path) for image in tree.images()}
    root = ""
    while len(inner := subfolders(tree, root)) == 1:
        root = posixpath.join(root, inner[0])
        if root in holders:
            return ""
    return root if inner else ""


def read_tree(config: DataConfig, tree: Tree, root: str) -> Source:
    """The images of the class folders in `root`, or of those in the split folders in it.

    Images beside these folders are problems; what lies elsewhere in the tree is not looked at.

    Raises:
        UserError: as `read`.
    """
    splits = split_folders(tree, root)
    records: list[Record] = []
    problems: list[Problem] = []
    if splits:
        beside = (image for image in tree.images() if posixpath.dirname(image.path) == root)
        problems += [Problem(image.path, NO_CLASS) for image in beside]
    held: dict[str, set[str]] = {}
    for name, split in splits.items() or [("", None)]:
        place = posixpath.join(root, name) if name else root
        labels = {folder: label_of(folder) for folder in subfolders(tree, place)}
        if not labels:
            raise UserError(_no_classes(config, tree, place), key="data.root")
        found = class_records(tree, place, labels, split)
        records += found[0]
        problems += found[1]
        held[name] = set(labels.values())
    if config.splits == "given":
        _check_same(held)
    classes = in_order(label for labels in held.values() for label in labels)
    return Source(classes, tuple(records), (*tree.problems, *problems))


def split_folders(tree: Tree, root: str) -> dict[str, GivenSplit]:
    """The split of each folder in `root`, where all are named for one; else nothing.

    Raises:
        UserError: some are, and others stand beside them, or two are for the same split.
    """
    children = subfolders(tree, root)
    splits = {
        name: SPLIT_WORDS[name.casefold()] for name in children if name.casefold() in SPLIT_WORDS
    }
    kinds = set(splits.values())
    if len(kinds) < 2:
        return {}
    others = [name for name in children if name not in splits]
    if "train" not in kinds:
        if others:
            return {}
        raise UserError(f"beside {quoted(children)} there is no folder 'train'", key="data.root")
    if others:
        raise UserError(
            f"beside the splits {quoted(list(splits))} lie folders that are none: "
            f"{quoted(others)}; take either away",
            key="data.root",
        )
    if len(kinds) < len(splits):
        raise UserError(f"two of {quoted(children)} are the same split", key="data.root")
    return splits


def _check_same(held: Mapping[str, set[str]]) -> None:
    """Every split must hold every class."""
    classes = set().union(*held.values())
    lacks = [
        f"{name!r} lacks {quoted(sorted(classes - labels))}"
        for name, labels in held.items()
        if labels != classes
    ]
    if lacks:
        raise UserError(
            f"each split must hold the same classes, and {'; '.join(lacks)} "
            "(data.splits=drawn draws the splits from all images)",
            key="data.root",
        )


def _no_classes(config: DataConfig, tree: Tree, place: str) -> str:
    images = len(tree.below(place).images())
    where = repr(place) if place else shown_root(config.root or "")
    held = f"{images:,} images, but no class folder" if images else "no class folder"
    return f"{where} holds {held}; give each class a folder of its own{unread(tree)}"
