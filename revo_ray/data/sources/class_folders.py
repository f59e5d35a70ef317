"""Class folders: find them, make records of their images, and warn of files left out."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from revo_ray.data.files.archive import is_archive
from revo_ray.data.files.image_files import ImageFiles, root_error
from revo_ray.data.image_records import Finding, GivenSplit, Problem, Record, Topic
from revo_ray.data.sources.root import quoted
from revo_ray.settings.schema import DataConfig
from revo_ray.words import counted

NO_CLASS = "lies in no class folder"


def subfolders(files: ImageFiles, folder: str) -> list[str]:
    """Names of the folders directly in a folder; the folder "" is the root."""
    prefix = posixpath.join(folder, "")
    inner = (path[len(prefix) :] for path in files.folders if path.startswith(prefix))
    return [name for name in inner if "/" not in name]


def class_records(
    files: ImageFiles,
    folder: str,
    labels: Mapping[str, str],
    split: GivenSplit | None = None,
    wanted: Callable[[str], bool] = lambda path: True,
) -> tuple[list[Record], list[Problem], list[str]]:
    """Make a record of each image in the class folders, at any depth.

    Args:
        files: all files of the data set.
        folder: folder that holds the class folders.
        labels: class of each class folder, by the folder's name; other folders are not read.
        split: given split of all these images.
        wanted: whether the image at a path belongs to the data set.

    Returns:
        The records, a problem for each image that lies beside the class folders, and the class
        folders that hold no image, not even one that cannot be read.
    """
    prefix = posixpath.join(folder, "")
    records, problems = [], []
    refused = (name[len(prefix) :] for name, _ in files.problems if name.startswith(prefix))
    filled = {name.partition("/")[0] for name in refused}
    for image in files.images():
        if not image.path.startswith(prefix) or not wanted(image.path):
            continue
        name, inside, _ = image.path[len(prefix) :].partition("/")
        if not inside:
            problems.append(Problem(image.path, NO_CLASS))
        elif name in labels:
            records.append(Record(image.path, labels[name], image, split=split))
            filled.add(name)
    empty = [posixpath.join(folder, name) for name in labels if name not in filled]
    return records, problems, empty


def check_filled(empty: Sequence[str], config: DataConfig, files: ImageFiles) -> None:
    """Check that no class folder is empty, unless small classes are left out.

    Raises:
        UserError: class folders are empty; the message names them.
    """
    if empty and config.min_per_class == 1:
        folders = "class folders" if len(empty) > 1 else "the class folder"
        them = "them" if len(empty) > 1 else "it"
        inside = tuple(posixpath.join(folder, "") for folder in empty)
        there = [file.path for file in files.all if file.path.startswith(inside)]
        known = ""
        if there:
            count = counted(len(there), "file")
            known = f" ({count} there, such as {there[0]!r}, without an ending of an image: give "
            known += "it one, or name the files in a csv)"
        raise root_error(
            f"no image lies in {folders} {quoted(empty)}{known}; put some there, take {them} away, "
            "or leave out all classes of fewer than 3 images with data.min_per_class: 3"
        )


def other_files(files: ImageFiles, folder: str, *, unpacked: bool = False) -> list[Finding]:
    """Warn of the files below a folder that are not images, counted by extension.

    Args:
        unpacked: archives were listed as if unpacked, and are not counted.
    """
    images = {file.path for file in files.images()}
    prefix = posixpath.join(folder, "")
    extensions = Counter(
        posixpath.splitext(file.path)[1].lower() or "without extension"
        for file in files.all
        if file.path.startswith(prefix) and file.path not in images
        if not (unpacked and is_archive(file.path))
    )
    if not extensions:
        return []
    counts = ", ".join(f"{count} {extension}" for extension, count in sorted(extensions.items()))
    return [Finding(Topic.OTHER, f"files that are no images are not read: {counts}")]


def shallowest(folders: Iterable[str], warnings: list[Finding]) -> str | None:
    """Choose the folder nearest to the root; warn if a data set lies in several folders."""
    ordered = sorted(folders, key=lambda folder: (folder.count("/") + bool(folder), folder))
    if len(ordered) > 1:
        read, others = shown_folder(ordered[0]), quoted(ordered[1:])
        text = f"the data set lies in several folders: {read} is read, {others} not"
        warnings.append(Finding(Topic.OTHER, text))
    return ordered[0] if ordered else None


def shown_folder(folder: str) -> str:
    """Quote a folder below the root for a message."""
    return repr(folder) if folder else "data.root itself"
