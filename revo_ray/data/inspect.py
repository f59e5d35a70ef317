"""A look at the configured images before a search: all that it would find, and no table."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.files.decode import explain, square
from revo_ray.data.near_duplicates import Look, Twins, find_twins
from revo_ray.data.records import Problem, Record, Source
from revo_ray.data.sources import read_source
from revo_ray.data.splits.split import split
from revo_ray.data.table.fingerprint import choose, table_path
from revo_ray.data.table.threads import in_order
from revo_ray.data.table.writer import Progress, check_classes
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

SPLITS = ("train", "validation", "test")
NAMED = 10
"""Pairs of twins that are named, at most, of each kind."""

_HAM10000 = re.compile(r"ISIC_\d{7}")


@dataclass(frozen=True)
class Groups:
    """What the source says of images that belong together.

    Attributes:
        count: groups.
        shared: groups of several images.
        without: images that have no group.
    """

    count: int
    shared: int
    without: int


@dataclass(frozen=True)
class Overlap:
    """The images of a split that stand in an earlier one too.

    Attributes:
        splits: the earlier one and the one whose images are counted.
        same: images of which the earlier split holds one with the same pixels.
        similar: images, beside those, of which it holds one that nearly looks the same.
        same_names, similar_names: the first pairs, in the order of `splits`.
    """

    splits: tuple[str, str]
    same: int
    similar: int
    same_names: tuple[tuple[str, str], ...]
    similar_names: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a search would find.

    Attributes:
        classes: (C,) their names.
        listed: images that the source has, before `max_images`.
        counts: (C,) images that can be used.
        splits: (C,) images of each class in train, validation, test and none of them (`unused`);
            empty if they cannot be split.
        sizes: width and height of the smallest, the median and the largest image, by area.
        kinds: how many images have which format and mode, such as `JPEG RGB`.
        groups: None if no image has one.
        problems: the images that cannot be used, and why.
        overlaps: for each two splits.
        table_bytes: about the size of the table.
        table: where it is, if it is there already.
        warnings: what may spoil a result, each in one line.
        obstacles: why no search can start; empty if one can.
    """

    classes: tuple[str, ...]
    listed: int
    counts: NDArray[np.int64]
    splits: Mapping[str, NDArray[np.int64]]
    sizes: tuple[tuple[int, int], ...]
    kinds: Mapping[str, int]
    groups: Groups | None
    problems: tuple[Problem, ...]
    overlaps: tuple[Overlap, ...]
    table_bytes: int
    table: Path | None
    warnings: tuple[str, ...]
    obstacles: tuple[UserError, ...]

    def check(self) -> None:
        """Raise what keeps a search from starting.

        Raises:
            UserError: all obstacles in one line, about the first one's key.
        """
        if self.obstacles:
            first, *rest = self.obstacles
            message = "; ".join([first.args[0], *map(str, rest)])
            raise UserError(message, key=first.key)


class _View(NamedTuple):
    """What is kept of a decoded image."""

    size: tuple[int, int]
    kind: str
    look: Look


def inspect(config: DataConfig, folder: Path | str, progress: Progress | None = None) -> Inspection:
    """Decode the images as the first preparation of a table would, and count what it would find.

    In memory are a few images a core, and less than a kilobyte of each that was looked at.

    Args:
        folder: where tables are prepared.
        progress: called with the images done and all images.

    Raises:
        UserError: the source cannot be read; whatever else is wrong is an obstacle.
    """
    source = read_source(config)
    obstacles: list[UserError] = []
    records: Sequence[Record] = source.records
    try:
        records = choose(records, config)
    except UserError as error:
        obstacles.append(error)
    views, problems = _look(records, config.image_size, progress)
    problems = [*source.problems, *problems]
    if problems and config.on_bad_image == "stop":
        obstacles.insert(0, _unusable(len(problems)))
    usable = [(record, view) for record, view in zip(records, views, strict=True) if view]
    kept = [record for record, _ in usable]
    labels = np.array([source.classes.index(record.label) for record in kept], np.int64)
    parts = _split(source, kept, labels, config, obstacles)
    groups = _groups(kept)
    looks = [view.look for _, view in usable]
    twins = find_twins(looks, [parts[name] for name in SPLITS]) if parts else []
    return Inspection(
        classes=source.classes,
        listed=len(source.records),
        counts=_per_class(source, labels),
        splits={name: _per_class(source, labels[part]) for name, part in parts.items()},
        sizes=_sizes([view.size for _, view in usable]),
        kinds=dict(Counter(view.kind for _, view in usable).most_common()),
        groups=groups,
        problems=tuple(problems),
        overlaps=tuple(_overlap(pair, kept) for pair in twins),
        table_bytes=_table_bytes(kept, config.image_size),
        table=_find_table(config, source, records, Path(folder)),
        warnings=(*source.warnings, *_leaks(kept, groups, twins, parts)),
        obstacles=tuple(obstacles),
    )


def _look(
    records: Sequence[Record], size: int, progress: Progress | None
) -> tuple[list[_View | None], list[Problem]]:
    """What is to be seen of each image; None for one that cannot be decoded."""

    def look(record: Record) -> _View | Problem:
        try:
            image = record.picture.open()
            kind = f"{image.format or ''} {image.mode}".strip()
            dimensions = image.size  # of the file: `square` may decode a smaller one
            return _View(dimensions, kind, Look.of(square(image, size)))
        except Exception as error:  # whatever a decoder raises
            return Problem(record.name, explain(error))

    report = progress or (lambda done, total: None)
    report(0, len(records))
    views: list[_View | None] = []
    problems = []
    with warnings.catch_warnings(), closing(in_order(look, records)) as results:
        warnings.simplefilter("ignore")  # Pillow's, of odd metadata and the like
        for done, result in enumerate(results, start=1):
            if isinstance(result, Problem):
                problems.append(result)
            views.append(result if isinstance(result, _View) else None)
            report(done, len(records))
    return views, problems


def _split(
    source: Source,
    kept: Sequence[Record],
    labels: NDArray[np.int64],
    config: DataConfig,
    obstacles: list[UserError],
) -> dict[str, NDArray[np.int64]]:
    """The positions in each split and in none; nothing, and an obstacle, if there can be none."""
    groups = [record.group for record in kept]
    given = [record.split for record in kept]
    try:
        if not source.classes:
            raise UserError(f"the source {config.source!r} has no images", key="data.root")
        check_classes(source.classes, (record.label for record in kept), ())
        splits = split(
            labels,
            config,
            groups=groups if any(groups) else None,
            classes=source.classes,
            given=given if any(given) else None,
        )
    except UserError as error:
        obstacles.append(error)
        return {}
    parts = {name: getattr(splits, name) for name in SPLITS}
    unused = np.setdiff1d(np.arange(len(labels)), np.concatenate(list(parts.values())))
    return parts | {"unused": unused}


def _unusable(count: int) -> UserError:
    images, them = ("1 image", "it") if count == 1 else (f"{count:,} images", "them")
    return UserError(
        f"{images} cannot be used, as listed; mend or remove {them}, or leave {them} out with "
        "data.on_bad_image: skip",
        key="data.root",
    )


def _per_class(source: Source, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(labels, minlength=len(source.classes))


def _sizes(sizes: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return (ordered[0], ordered[len(ordered) // 2], ordered[-1]) if ordered else ()


def _groups(kept: Sequence[Record]) -> Groups | None:
    sizes = Counter(record.group for record in kept)
    without = sizes.pop(None, 0)
    if not sizes:
        return None
    return Groups(
        count=len(sizes),
        shared=sum(size > 1 for size in sizes.values()),
        without=without,
    )


def _overlap(twins: Twins, kept: Sequence[Record]) -> Overlap:
    def names(pairs: NDArray[np.int64]) -> tuple[tuple[str, str], ...]:
        return tuple((kept[i].name, kept[j].name) for i, j in pairs[:NAMED])

    first, second = twins.splits
    return Overlap(
        (SPLITS[first], SPLITS[second]),
        len(twins.same),
        len(twins.similar),
        names(twins.same),
        names(twins.similar),
    )


def _leaks(
    kept: Sequence[Record],
    groups: Groups | None,
    twins: Sequence[Twins],
    parts: Mapping[str, NDArray[np.int64]],
) -> list[str]:
    """What makes validation and test scores better than they should be."""
    leaks = []
    if twinned := len(np.unique(np.concatenate([t.second for t in twins]))) if twins else 0:
        held_out = len(parts["validation"]) + len(parts["test"])
        leaks.append(
            f"{twinned:,} of {held_out:,} validation and test images have a twin in another "
            "split, which flatters the scores; remove one of each two, or keep them together as a "
            "group (data.source: csv)"
        )
    lesions = sum(bool(_HAM10000.search(record.name)) for record in kept)
    if groups is None and lesions > len(kept) / 2:
        leaks.append(
            "the images are named as HAM10000's are, where several may show one lesion: without "
            "groups it stands in several splits; use data.source: ham10000, or a csv's column group"
        )
    return leaks


def _table_bytes(kept: Sequence[Record], size: int) -> int:
    """Pixels, label, the texts and their offsets."""
    texts = (text for r in kept for text in (r.name, r.group, r.split) if text is not None)
    return len(kept) * (3 * size**2 + 16) + sum(len(text.encode()) for text in texts)


def _find_table(
    config: DataConfig, source: Source, records: Sequence[Record], folder: Path
) -> Path | None:
    """The table, if it has been prepared."""
    if not any(folder.glob("*.arrow")):
        return None  # to find its name, all files would have to be read
    path, _ = table_path(config, source, records, folder)
    return path if path.exists() else None
