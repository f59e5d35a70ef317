"""SRSMAS: images of 14 corals, each in a folder of its own."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from dataclasses import replace

from revo_ray.data.image_records import Finding, Source, Topic
from revo_ray.data.sources.class_folders import other_files, shallowest
from revo_ray.data.sources.folder import find_class_folders, read_class_folders
from revo_ray.data.sources.root import open_files
from revo_ray.settings.schema import DataConfig

CLASSES = 14


def read(config: DataConfig) -> Source:
    """Read the images of the 14 class folders, in any wrapper; warn if there are not 14.

    Raises:
        UserError: there are fewer than two class folders, or one of them is empty.
    """
    files = open_files(config, "the folder or archive of SRSMAS", unpack=True)
    warnings: list[Finding] = []
    held = defaultdict(set)
    for image in files.images():
        folder = posixpath.dirname(image.path)
        if folder:
            held[posixpath.dirname(folder)].add(folder)
    complete = [parent for parent, folders in held.items() if len(folders) == CLASSES]
    home = shallowest(complete, warnings)
    if home is None:
        home = find_class_folders(files)
    source = read_class_folders(config, files, home)
    if len(source.classes) != CLASSES:
        text = f"SRSMAS has {CLASSES} classes, and here are {len(source.classes)}"
        warnings.append(Finding(Topic.OTHER, text))
    warnings += source.warnings
    return replace(source, warnings=(*warnings, *other_files(files, home, unpacked=True)))
