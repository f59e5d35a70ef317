"""SRSMAS: 14 corals, a folder each."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from dataclasses import replace

from revo_ray.data.files.image_files import Tree
from revo_ray.data.records import Source
from revo_ray.data.sources.class_folders import other_files, shallowest
from revo_ray.data.sources.common import needed_root
from revo_ray.data.sources.folder import class_root, read_tree
from revo_ray.settings.schema import DataConfig

CLASSES = 14


def read(config: DataConfig) -> Source:
    """The images of the 14 class folders, below any wrapper; another number is a warning.

    Raises:
        UserError: there are not two class folders, or one of them is empty.
    """
    tree = Tree.open(needed_root(config, "the folder or archive of SRSMAS"), unpack=True)
    warnings: list[str] = []
    held = defaultdict(set)
    for image in tree.images():
        folder = posixpath.dirname(image.path)
        if folder:
            held[posixpath.dirname(folder)].add(folder)
    complete = [place for place, folders in held.items() if len(folders) == CLASSES]
    root = shallowest(complete, warnings)
    if root is None:
        root = class_root(tree)
    source = read_tree(config, tree, root)
    if len(source.classes) != CLASSES:
        warnings.append(f"SRSMAS has {CLASSES} classes, and here are {len(source.classes)}")
    return replace(source, warnings=(*warnings, *other_files(tree, root, unpacked=True)))
