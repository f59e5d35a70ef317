"""A folder, an archive or a table of images in the place of a configuration."""

from __future__ import annotations

import os
import posixpath
import re
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

IMAGES = frozenset(
    {
        *(".apng", ".avif", ".avifs", ".bmp", ".bw", ".dcm", ".dds", ".dib", ".dicom", ".gif"),
        *(".heic", ".heics", ".heif", ".heifs", ".hif", ".icb", ".icns", ".ico", ".j2c", ".j2k"),
        *(".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm"),
        *(".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".ras", ".rgb", ".rgba"),
        *(".sgi", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm", ".xpm"),
    }
)
"""Endings of image files; the source `folder` reads those of them that its libraries read."""

_CONFIGURATIONS = (".yaml", ".yml", ".json")


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
    """Whether a folder holds parquet tables and no image, as that of a Hub data set does."""
    tables = False
    for path in folder.rglob("*"):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue  # no source reads hidden files
        ending = path.suffix.lower()
        if ending in IMAGES and path.is_file():
            return False
        tables = tables or ending == ".parquet"
    return tables
