"""Published data sets of class folders whose names are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from revo_ray.data.files.image_files import Tree
from revo_ray.data.records import Source
from revo_ray.data.sources.class_folders import (
    class_records,
    other_files,
    shallowest,
    shown,
    subfolders,
)
from revo_ray.data.sources.common import label_of, needed_root, quoted, shown_root, unread
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig


def read_known(
    config: DataConfig,
    classes: Sequence[str],
    home: str,
    wanted: Callable[[str], bool] = lambda path: True,
) -> Source:
    """The images in class folders of known names, wherever below the root those lie.

    Args:
        config: its `root` may be the folder of the class folders, any above it, or an archive.
        classes: the names, in order; folders are matched in any case.
        home: what the data set calls the folder that holds them, for messages.
        wanted: whether a path is one of the data set's.

    Raises:
        UserError: no folder holds two of the class folders, or one of them holds no image.
    """
    uri = needed_root(config, f"the folder or archive of {home}")
    tree = Tree.open(uri, unpack=True)
    warnings: list[str] = []
    root = _find(tree, classes, wanted, warnings)
    if root is None:
        raise UserError(
            f"no {home} at {shown_root(uri)}: no folder there holds two or more of "
            f"{quoted(classes)}{unread(tree)}",
            key="data.root",
        )
    by_case = {label.casefold(): label for label in classes}
    children = subfolders(tree, root)
    labels = {
        name: by_case[label_of(name).casefold()]
        for name in children
        if label_of(name).casefold() in by_case
    }
    records, problems = class_records(tree, root, labels, wanted=wanted)
    extra = [name for name in children if name not in labels]
    if counted := _counted(tree, root, extra, wanted):
        warnings.append(f"folders that are no class of {config.source} are left out: {counted}")
    present = set(labels.values())
    if missing := [label for label in classes if label not in present]:
        warnings.append(f"{shown(root)} has no folder {quoted(missing)}")
    return Source(
        tuple(label for label in classes if label in present),
        tuple(records),
        (*tree.problems, *problems),
        (*warnings, *other_files(tree, root, unpacked=True)),
    )


def _counted(tree: Tree, root: str, folders: Sequence[str], wanted: Callable[[str], bool]) -> str:
    """The folders in `root` that hold images, each with their number."""
    inside = tree.below(root)
    numbers = [
        (name, sum(wanted(f"{name}/{image.path}") for image in inside.below(name).images()))
        for name in folders
    ]
    return ", ".join(
        f"{name!r} ({number:,} image{'s' * (number > 1)})" for name, number in numbers if number
    )


def _find(
    tree: Tree, classes: Sequence[str], wanted: Callable[[str], bool], warnings: list[str]
) -> str | None:
    """The folder that holds the most of the class folders, two at least."""
    names = {label.casefold() for label in classes}
    found: dict[str, set[str]] = defaultdict(set)
    for path in tree.folders:
        parent, _, name = path.rpartition("/")
        if label_of(name).casefold() in names and wanted(path):
            found[parent].add(label_of(name).casefold())
    most = max((len(held) for held in found.values()), default=0)
    if most < 2:
        return None
    return shallowest((place for place, held in found.items() if len(held) == most), warnings)
