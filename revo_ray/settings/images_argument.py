"""A folder, an archive or a table of images in the place of a configuration."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from revo_ray.errors import UserError
from revo_ray.uris import divided
from revo_ray.words import shown

PRESET = "preset:own-images"
"""Configuration of images that are given without one."""

SOURCES = {
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    ".parquet": "parquet",
    **dict.fromkeys((".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"), "folder"),
    **dict.fromkeys((".tgz", ".tbz2", ".tbz", ".txz", ".tzst"), "folder"),
}
"""Reader of a file, by its ending; those of archives are the ones that `data` opens."""

_CONFIGURATIONS = (".yaml", ".yml", ".json")
_LOOKED_AT = 1000
"""Files of a folder that are looked at, in search of the kind of its images."""


def images_settings(argument: str) -> dict[str, Any] | None:
    """The settings that name the images at a path or URI; None if it is no path of images.

    A search of them is named after the path.
    """
    place = divided(argument)[0]
    if argument.startswith("preset:") or place.lower().endswith(_CONFIGURATIONS):
        return None
    ending = next((known for known in SOURCES if place.lower().endswith(known)), "")
    source = SOURCES.get(ending)
    folder = Path(os.path.expanduser(argument))
    if "://" not in argument and folder.is_dir():
        source = "parquet" if _holds_tables(folder) else "folder"
    elif source is None and "://" in argument:
        source = "folder"
    if source is None:
        return None
    stem = posixpath.basename(place.rstrip("/")) if "://" in argument else folder.resolve().name
    stem = stem[: len(stem) - len(ending)]
    name = re.sub("[^A-Za-z0-9._-]+", "-", stem).strip("-._")
    named = {"name": name} if name else {}
    return {**named, "data": {"source": source, "root": argument}}


def images_overrides(argument: str, config: str) -> list[str]:
    """Overrides that put the images at a path or URI into a study.

    Args:
        argument: the path or URI.
        config: the study. One that is a preset is named after the images and the preset.

    Raises:
        UserError: it is no path of images.
    """
    found = images_settings(argument)
    if found is None:
        raise UserError(f"{shown(argument)}: give a folder, an archive or a table of images")
    texts = [f"data.{key}={value}" for key, value in found["data"].items()]
    preset = config.removeprefix("preset:")
    return texts + [f"name={found['name']}-{preset}"] * (preset != config and "name" in found)


def _holds_tables(folder: Path) -> bool:
    """Whether the first files of a folder are parquet tables, as those of a Hub data set are."""
    found = [path.suffix.lower() for path in _first_files(folder)]
    return ".parquet" in found and not any(ending in (".png", ".jpg", ".jpeg") for ending in found)


def _first_files(folder: Path) -> Iterator[Path]:
    for count, path in enumerate(folder.rglob("*")):
        if count == _LOOKED_AT:
            return
        yield path
