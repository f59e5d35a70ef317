"""Class folders: where they lie, what each holds, and what is left out."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from revo_ray.data.files.image_files import Tree
from revo_ray.data.records import GivenSplit, Problem, Record
from revo_ray.data.sources.common import quoted
from revo_ray.errors import UserError

NO_CLASS = "lies in no class folder"


def subfolders(tree: Tree, root: str) -> list[str]:
    """The names of the folders directly in a folder of the tree; `root` "" is the tree's own."""
    prefix = posixpath.join(root, "")
    inner = (path[len(prefix) :] for path in tree.folders if path.startswith(prefix))
    return [name for name in inner if "/" not in name]


def class_records(
    tree: Tree,
    root: str,
    labels: Mapping[str, str],
    split: GivenSplit | None = None,
    wanted: Callable[[str], bool] = lambda path: True,
) -> tuple[list[Record], list[Problem]]:
    """A record for each image in the class folders of `root`, at any depth.

    Args:
        root: the folder that holds the class folders.
        labels: the class of each class folder, by its name; other folders are not read.
        split: that of all of them.
        wanted: whether the image at a path counts at all.

    Returns:
        The records, and a problem for each image that lies in `root` beside the folders.

    Raises:
        UserError: class folders hold no image, not even one that cannot be read.
    """
    prefix = posixpath.join(root, "")
    records, problems = [], []
    refused = (name[len(prefix) :] for name, _ in tree.problems if name.startswith(prefix))
    met = {name.partition("/")[0] for name in refused}
    for image in tree.images():
        if not image.path.startswith(prefix) or not wanted(image.path):
            continue
        name, inside, _ = image.path[len(prefix) :].partition("/")
        if not inside:
            problems.append(Problem(image.path, NO_CLASS))
        elif name in labels:
            records.append(Record(image.path, labels[name], image, split=split))
            met.add(name)
    if empty := [posixpath.join(root, name) for name in labels if name not in met]:
        folders = "class folders" if len(empty) > 1 else "the class folder"
        raise UserError(
            f"no image lies in {folders} {quoted(empty)}; put some there, or take the folder away",
            key="data.root",
        )
    return records, problems


def other_files(tree: Tree, root: str, *, unpacked: bool = False) -> list[str]:
    """A warning that counts, by extension, the files below `root` that are no images.

    Args:
        unpacked: archives were read as if unpacked, and do not count.
    """
    images = {file.path for file in tree.images()}
    prefix = posixpath.join(root, "")
    ends = Counter(
        posixpath.splitext(file.path)[1].lower() or "without extension"
        for file in tree.files
        if file.path.startswith(prefix) and file.path not in images
        if not (unpacked and file.path.lower().endswith(".zip"))
    )
    if not ends:
        return []
    counts = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    return [f"files that are no images are not read: {counts}"]


def shallowest(places: Iterable[str], warnings: list[str]) -> str | None:
    """The folder nearest to the root, where a data set lies in several; adds a warning then."""
    ordered = sorted(places, key=lambda place: (place.count("/") + bool(place), place))
    if len(ordered) > 1:
        others = quoted(ordered[1:])
        warnings.append(
            f"the data set lies in several folders: {shown(ordered[0])} is read, {others} not"
        )
    return ordered[0] if ordered else None


def shown(folder: str) -> str:
    """A folder of the tree as a message names it."""
    return repr(folder) if folder else "data.root itself"
