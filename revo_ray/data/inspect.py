"""Inspect the configured images before a search, without preparing a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.class_findings import class_findings
from revo_ray.data.files.decode import explain, facts, pages_finding, square
from revo_ray.data.files.intensity import Range, intensity_finding, settled_range, shown
from revo_ray.data.image_records import Finding, Problem, Record, Source, Topic
from revo_ray.data.inspection import NAMED, GroupCounts, Inspection, Overlap
from revo_ray.data.near_duplicates import ImageHashes, NearDuplicates, find_near_duplicates
from revo_ray.data.sources import read_source
from revo_ray.data.splits.split import split_records
from revo_ray.data.splits.subset import limit_records
from revo_ray.data.table.bad_images import bad_images_error, check_classes
from revo_ray.data.table.fingerprint import table_path
from revo_ray.data.table.writer import Progress, decode_all, find_intensities
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

SPLITS = ("train", "validation", "test")

_HAM10000 = re.compile(r"ISIC_\d{7}")


class _Image(NamedTuple):
    """Facts about an image that was decoded."""

    size: tuple[int, int]
    kind: str
    pages: int
    hashes: ImageHashes


def inspect(config: DataConfig, folder: Path | str, progress: Progress | None = None) -> Inspection:
    """Decode the images as the preparation of a table would, and report what a search would find.

    Memory holds a few images per core, and less than a kilobyte for each image that was decoded.

    Args:
        config: configuration of the images.
        folder: folder in which tables are prepared.
        progress: called with the number of images done and of all images.

    Raises:
        UserError: the source cannot be read; everything else that is wrong is an obstacle.
    """
    source = read_source(config)
    obstacles: list[UserError] = []
    records: Sequence[Record] = source.records
    try:
        records = limit_records(records, config)
    except UserError as error:
        obstacles.append(error)
    intensities = find_intensities(records, config)
    limits = settled_range(config.intensity, intensities)
    looked_at = list(decode_all(partial(_look, config=config, limits=limits), records, progress))
    problems = [*source.problems, *(found for found in looked_at if isinstance(found, Problem))]
    if problems and config.on_bad_image == "stop":
        obstacles.insert(0, bad_images_error(problems))
    kept = [r for r, found in zip(records, looked_at, strict=True) if isinstance(found, _Image)]
    images = [found for found in looked_at if isinstance(found, _Image)]
    labels = np.array([source.classes.index(record.label) for record in kept], np.int64)
    parts = _split(source, kept, config, obstacles)
    groups = _count_groups(kept)
    hashes = [image.hashes for image in images]
    duplicates = find_near_duplicates(hashes, [parts[name] for name in SPLITS]) if parts else []
    range_taken = intensity_finding(config.intensity, intensities)
    paged = pages_finding(
        [record.name for record, image in zip(kept, images, strict=True) if image.pages > 1]
    )
    warnings = (
        *source.warnings,
        *_leaks(kept, groups, duplicates, parts),
        *class_findings(source.classes, labels, parts),
        *(found for found in (range_taken, paged) if found),
    )
    return Inspection(
        classes=source.classes,
        listed=len(source.records),
        counts=_per_class(source, labels),
        splits={name: _per_class(source, labels[part]) for name, part in parts.items()},
        sizes=_sizes([image.size for image in images]),
        kinds=dict(Counter(image.kind for image in images).most_common()),
        groups=groups,
        problems=tuple(problems),
        overlaps=tuple(_overlap(pair, kept) for pair in duplicates),
        table_bytes=_table_bytes(kept, config.image_size),
        table=_find_table(config, source, records, Path(folder)),
        warnings=tuple(sorted(warnings, key=lambda found: found.topic)),
        obstacles=tuple(obstacles),
    )


def _look(record: Record, config: DataConfig, limits: Range) -> _Image | Problem:
    """Decode an image as the preparation of a table would."""
    try:
        image = record.picture.open()
        found = facts(image)
        pixels = square(image, config.image_size, config.fit, config.max_pixels)
        return _Image(found.size, found.kind, found.pages, ImageHashes.of(shown(pixels, limits)))
    except Exception as error:  # whatever a decoder raises
        return Problem(record.name, explain(error))


def _split(
    source: Source, kept: Sequence[Record], config: DataConfig, obstacles: list[UserError]
) -> dict[str, NDArray[np.int64]]:
    """Positions of the images in each split and in none; empty, with an obstacle, if impossible."""
    try:
        if not source.classes:
            raise UserError(f"the source {config.source!r} has no images", key="data.root")
        check_classes(source.classes, (record.label for record in kept), ())
        splits = split_records(kept, source.classes, config)
    except UserError as error:
        obstacles.append(error)
        return {}
    parts = {name: getattr(splits, name) for name in SPLITS}
    unused = np.setdiff1d(np.arange(len(kept)), np.concatenate(list(parts.values())))
    return parts | {"unused": unused}


def _per_class(source: Source, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(labels, minlength=len(source.classes))


def _sizes(sizes: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return (ordered[0], ordered[len(ordered) // 2], ordered[-1]) if ordered else ()


def _count_groups(kept: Sequence[Record]) -> GroupCounts | None:
    sizes = Counter(record.group for record in kept)
    without = sizes.pop(None, 0)
    if not sizes:
        return None
    shared = sum(size > 1 for size in sizes.values())
    return GroupCounts(count=len(sizes), shared=shared, without=without)


def _overlap(duplicates: NearDuplicates, kept: Sequence[Record]) -> Overlap:
    def names(pairs: NDArray[np.int64]) -> tuple[tuple[str, str], ...]:
        return tuple((kept[i].name, kept[j].name) for i, j in pairs[:NAMED])

    first, second = duplicates.splits
    return Overlap(
        (SPLITS[first], SPLITS[second]),
        len(duplicates.same),
        len(duplicates.similar),
        names(duplicates.same),
        names(duplicates.similar),
    )


def _leaks(
    kept: Sequence[Record],
    groups: GroupCounts | None,
    duplicates: Sequence[NearDuplicates],
    parts: Mapping[str, NDArray[np.int64]],
) -> list[Finding]:
    """Warn of images that make validation and test scores better than they should be."""
    leaks = []
    repeated = [pair.second for pair in duplicates]
    if count := len(np.unique(np.concatenate(repeated))) if repeated else 0:
        held_out = len(parts["validation"]) + len(parts["test"])
        text = (
            f"{count:,} of {held_out:,} validation and test images have a twin in another "
            "split, which flatters the scores; remove one of each two, or keep them together as a "
            "group (data.source: csv)"
        )
        leaks.append(Finding(Topic.TWINS, text, "data.near_duplicates"))
    lesions = sum(bool(_HAM10000.search(record.name)) for record in kept)
    if groups is None and lesions > len(kept) / 2:
        text = (
            "the images are named as HAM10000's are, where several may show one lesion: without "
            "groups it stands in several splits; use data.source: ham10000, or a csv's column group"
        )
        leaks.append(Finding(Topic.GROUPS, text, "data.group_by"))
    return leaks


def _table_bytes(kept: Sequence[Record], size: int) -> int:
    """Size of the pixels, labels and texts of these images, with 16 bytes for their offsets."""
    texts = (text for r in kept for text in (r.name, r.group, r.split) if text is not None)
    return len(kept) * (3 * size**2 + 16) + sum(len(text.encode()) for text in texts)


def _find_table(
    config: DataConfig, source: Source, records: Sequence[Record], folder: Path
) -> Path | None:
    """Find the prepared table of these images."""
    if not any(folder.glob("*.arrow")):
        return None  # the name of the table is a hash for which all files must be read
    path, _ = table_path(config, source, records, folder)
    return path if path.exists() else None
