"""BUSI and Leaves: published data sets whose class folders have fixed names.

BUSI is breast ultrasound: `Dataset_BUSI_with_GT/{benign,malignant,normal}/benign (1).png`. Leaves
are diseases of citrus leaves: `Citrus/Leaves/{Black spot,canker,greening,healthy}/*.png`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from posixpath import basename

from revo_ray.data.files.image_files import ImageFiles, root_error
from revo_ray.data.image_records import Finding, Source, Topic
from revo_ray.data.sources.class_and_split_names import class_name
from revo_ray.data.sources.class_folders import (
    check_filled,
    class_records,
    other_files,
    shallowest,
    shown_folder,
    subfolders,
)
from revo_ray.data.sources.root import open_files, quoted, unread
from revo_ray.settings.schema import DataConfig

BUSI = ("benign", "malignant", "normal")
LEAVES = ("Black spot", "canker", "greening", "healthy")


def read_busi(config: DataConfig) -> Source:
    """Read BUSI's images without their masks. The data set does not name its patients.

    Raises:
        UserError: `data.root` does not hold the data set.
    """
    return _read(
        config, BUSI, "Dataset_BUSI_with_GT", lambda path: "_mask" not in basename(path).lower()
    )


def read_leaves(config: DataConfig) -> Source:
    """Read the leaves, and not the fruits, whose folders have the same names.

    Raises:
        UserError: `data.root` does not hold the data set.
    """
    return _read(
        config,
        LEAVES,
        "Citrus/Leaves",
        lambda path: "fruits" not in path.casefold().split("/")[:-1],
    )


def _read(
    config: DataConfig, classes: Sequence[str], home: str, wanted: Callable[[str], bool]
) -> Source:
    """Read the images in class folders of these names, in any case, wherever they lie.

    `home` is the data set's own name for the folder of the class folders. `wanted` tells whether a
    path belongs to the data set.
    """
    files = open_files(config, f"the folder or archive of {home}", unpack=True)
    warnings: list[Finding] = []
    folder = _find_home(files, classes, wanted, warnings)
    if folder is None:
        raise root_error(
            f"no {home} at {config.root!r}: no folder there holds two or more of "
            f"{quoted(classes)}{unread(files)}"
        )
    by_case = {label.casefold(): label for label in classes}
    children = subfolders(files, folder)
    labels = {
        name: by_case[class_name(name).casefold()]
        for name in children
        if class_name(name).casefold() in by_case
    }
    records, problems, empty = class_records(files, folder, labels, wanted=wanted)
    check_filled(empty, config, files)
    extra = [name for name in children if name not in labels]
    if counted := _count_images(files, folder, extra, wanted):
        text = f"folders that are no class of {config.source} are left out: {counted}"
        warnings.append(Finding(Topic.OTHER, text))
    present = set(labels.values())
    if missing := [label for label in classes if label not in present]:
        text = f"{shown_folder(folder)} has no folder {quoted(missing)}"
        warnings.append(Finding(Topic.OTHER, text))
    return Source(
        tuple(label for label in classes if label in present),
        tuple(records),
        (*files.problems, *problems),
        (*warnings, *other_files(files, folder, unpacked=True)),
    )


def _count_images(
    files: ImageFiles, folder: str, names: Sequence[str], wanted: Callable[[str], bool]
) -> str:
    """Name the folders in `folder` that hold images, each with their number."""
    inside = files.below(folder)
    numbers = [
        (name, sum(wanted(f"{name}/{image.path}") for image in inside.below(name).images()))
        for name in names
    ]
    return ", ".join(
        f"{name!r} ({number:,} image{'s' * (number > 1)})" for name, number in numbers if number
    )


def _find_home(
    files: ImageFiles,
    classes: Sequence[str],
    wanted: Callable[[str], bool],
    warnings: list[Finding],
) -> str | None:
    """Find the folder that holds the most class folders, at least two of them."""
    names = {label.casefold() for label in classes}
    found: dict[str, set[str]] = defaultdict(set)
    for path in files.folders:
        parent, _, name = path.rpartition("/")
        if class_name(name).casefold() in names and wanted(path):
            found[parent].add(class_name(name).casefold())
    most = max((len(held) for held in found.values()), default=0)
    if most < 2:
        return None
    return shallowest((folder for folder, held in found.items() if len(held) == most), warnings)
