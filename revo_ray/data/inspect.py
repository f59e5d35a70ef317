"""Inspect the configured images before a search; a table is prepared later without reading them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.class_findings import class_findings
from revo_ray.data.image_records import Finding, Record, Source, Topic
from revo_ray.data.inspection import NAMED, GroupCounts, Inspection, Overlap
from revo_ray.data.near_duplicates.policy import SPLITS, Across, say_across
from revo_ray.data.shapes import aspects
from revo_ray.data.sources import read_source
from revo_ray.data.splits.split import split_records
from revo_ray.data.splits.subset import limit_records
from revo_ray.data.surveyed import Surveyed
from revo_ray.data.table.bad_images import bad_images_error, check_classes, left_out_finding
from revo_ray.data.table.fingerprint import table_path
from revo_ray.data.table.image_table import opened
from revo_ray.data.table.survey import Survey
from revo_ray.data.table.threads import Progress
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

_HAM10000 = re.compile(r"ISIC_\d{7}")


def inspect(
    config: DataConfig,
    folder: Path | str,
    progress: Progress | None = None,
    *,
    seeking: Progress | None = None,
    list_pairs: Path | None = None,
) -> Inspection:
    """Look at the images as the preparation of a table would, and report what a search would find.

    A search that follows reads none of the images again. Memory holds a few images per core, and
    less than a kilobyte for each image that was decoded.

    Args:
        config: configuration of the images.
        folder: folder in which tables are prepared, and which remembers the images.
        progress: called with the number of images done and of all images to look at.
        seeking: called while near-duplicates are sought, with the parts of the work done and all
            parts.
        list_pairs: path of a csv file to write, which lists all pairs of near-duplicates.

    Raises:
        UserError: the source cannot be read; everything else that is wrong is an obstacle.
        OSError: the file of near-duplicates cannot be written.
    """
    source = read_source(config)
    obstacles: list[UserError] = []
    records: Sequence[Record] = source.records
    try:
        records = limit_records(records, config)
    except UserError as error:
        obstacles.append(error)
    with Survey.open(config, Path(folder)) as survey:
        rows = survey.find(records)
        found = survey.look(records, rows, progress)
        problems = [*source.problems, *(found[i] for i in sorted(found))]
        if problems and config.on_bad_image == "stop":
            obstacles.insert(0, bad_images_error(problems))
        surveyed = Surveyed.of(survey, records, rows, config, seeking)
        facts = list(survey.facts(surveyed.rows))
        contents = survey.digests(rows, found)
        table = table_path(config, source, records, contents, Path(folder))
        kept = surveyed.treated.records
        labels = np.array([source.classes.index(record.label) for record in kept], np.int64)
        parts = _split(source, kept, config, obstacles)
        across = surveyed.across(parts) if parts else []
        ready = opened(table)
        limits = surveyed.limits(survey, config) if ready is None else ready.intensity
        of_pictures = surveyed.findings(survey, config, limits)
        if list_pairs is not None:
            surveyed.list_pairs(list_pairs, parts)
    groups = _count_groups(records)
    leak = say_across(across, parts, config) if parts else None
    warnings = (
        *source.warnings,
        *of_pictures,
        *([leak] if leak else []),
        *_lesions(kept, groups),
        *class_findings(source.classes, labels, parts),
    )
    if problems and config.on_bad_image == "skip":
        warnings = (left_out_finding(problems), *warnings)
    return Inspection(
        classes=source.classes,
        listed=len(source.records),
        counts=_per_class(source, labels),
        splits={name: _per_class(source, labels[part]) for name, part in parts.items()},
        sizes=_sizes([fact.size for fact in facts]),
        aspects=aspects([fact.size for fact in facts]),
        kinds=dict(Counter(fact.kind for fact in facts).most_common()),
        groups=groups,
        problems=tuple(problems),
        overlaps=tuple(_overlap(each, surveyed.usable) for each in across),
        table_bytes=_table_bytes(kept, config.image_size),
        table=None if ready is None else table,
        warnings=tuple(sorted(warnings, key=lambda found: found.topic)),
        obstacles=tuple(obstacles),
    )


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


def _overlap(across: Across, usable: Sequence[Record]) -> Overlap:
    def names(pairs: NDArray[np.int64]) -> tuple[tuple[str, str], ...]:
        return tuple((usable[i].name, usable[j].name) for i, j in pairs[:NAMED])

    first, second = across.splits
    return Overlap(
        (SPLITS[first], SPLITS[second]),
        len(across.same),
        len(across.similar),
        names(across.same),
        names(across.similar),
    )


def _lesions(kept: Sequence[Record], groups: GroupCounts | None) -> list[Finding]:
    """Warn of images that may show one lesion, and have no groups."""
    lesions = sum(bool(_HAM10000.search(record.name)) for record in kept)
    if groups is not None or lesions <= len(kept) / 2:
        return []
    text = (
        "the images are named as HAM10000's are, where several may show one lesion: without "
        "groups it stands in several splits; use data.source: ham10000, or a csv's column group"
    )
    return [Finding(Topic.GROUPS, text, "data.group_by")]


def _table_bytes(kept: Sequence[Record], size: int) -> int:
    """Size of the pixels, labels and texts of these images, with 16 bytes for their offsets."""
    texts = (text for r in kept for text in (r.name, r.group, r.split) if text is not None)
    return len(kept) * (3 * size**2 + 16) + sum(len(text.encode()) for text in texts)
