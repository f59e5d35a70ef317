"""Act on near-duplicates before images are split, as `data.near_duplicates` says; report them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.image_records import Finding, Record, Topic
from revo_ray.data.near_duplicates.pairs import NearDuplicates
from revo_ray.data.near_duplicates.similar_images import Indices, Pairs
from revo_ray.settings.schema import DataConfig
from revo_ray.words import counted

SPLITS = ("train", "validation", "test")

LARGEST = 10
"""A cluster of more than one in so many images is not kept together: only its copies are."""


@dataclass(frozen=True, eq=False)
class Treated:
    """Images of a table, after near-duplicates were acted on.

    Attributes:
        kept: positions of the images that are kept.
        records: their records, with the groups that keep near-duplicates together.
        findings: what was done, and what users should know.
    """

    kept: Indices
    records: Sequence[Record]
    findings: tuple[Finding, ...]


def treat(
    records: Sequence[Record], near_duplicates: NearDuplicates, config: DataConfig
) -> Treated:
    """Find pictures with two labels, and group or drop near-duplicates.

    Args:
        records: (N,) records of images that can be used.
        near_duplicates: near-duplicates among them.
        config: configuration of the images.
    """
    everyone = np.arange(len(records))
    if not len(records):
        return Treated(everyone, records, ())
    torn = _two_labels(records, near_duplicates)
    findings: list[Finding] = []
    if torn.any():
        findings.append(_say_two_labels(records, near_duplicates, torn, config.near_duplicates))
    kept = everyone
    if config.near_duplicates == "group":
        records, found = _group(records, near_duplicates, config)
        findings += found
    elif config.near_duplicates == "drop":
        kept, found = _drop(records, near_duplicates, torn, config)
        records = [records[i] for i in kept.tolist()]
        findings += found
    return Treated(kept, records, tuple(findings))


def _two_labels(records: Sequence[Record], near_duplicates: NearDuplicates) -> NDArray[np.bool_]:
    """Whether the same picture as each image stands in several classes."""
    numbers: dict[str, int] = {}
    labels = np.array([numbers.setdefault(r.label, len(numbers)) for r in records], np.int64)
    torn = np.zeros(len(records), bool)
    torn[near_duplicates.first[labels != labels[near_duplicates.first]]] = True
    return torn[near_duplicates.first]


def _say_two_labels(
    records: Sequence[Record], near_duplicates: NearDuplicates, torn: NDArray[np.bool_], way: str
) -> Finding:
    pictures = len(np.unique(near_duplicates.first[torn]))
    first = min(
        np.unique(near_duplicates.first[torn]).tolist(), key=near_duplicates.rank.__getitem__
    )
    other = min(
        (
            i
            for i in np.flatnonzero(near_duplicates.first == first).tolist()
            if records[i].label != records[first].label
        ),
        key=near_duplicates.rank.__getitem__,
    )
    stand = "picture stands" if pictures == 1 else "pictures stand"
    advice = "mend their labels, or leave them all out with data.near_duplicates: drop"
    if way == "drop":
        advice = "data.near_duplicates: drop leaves them all out"
    text = (
        f"{pictures:,} {stand} in two classes or more, as {int(torn.sum()):,} images, such as "
        f"{records[first].name!r} ({records[first].label!r}) and "
        f"{records[other].name!r} ({records[other].label!r}): {advice}"
    )
    return Finding(Topic.TWO_LABELS, text, "data.near_duplicates")


def _given(records: Sequence[Record], config: DataConfig) -> Indices:
    """(N,) number of each image's given split in `SPLITS`; -1 without one."""
    if config.splits == "drawn":
        return np.full(len(records), -1)
    numbers: dict[str | None, int] = {None: -1, "train": 0, "validation": 1, "test": 2}
    return np.array([numbers[record.split] for record in records], np.int64)


def _own(records: Sequence[Record]) -> Indices:
    """(N,) position of the first image of each image's own group."""
    found: dict[str, int] = {}
    return np.array(
        [i if r.group is None else found.setdefault(r.group, i) for i, r in enumerate(records)],
        np.int64,
    )


def _group(
    records: Sequence[Record], near_duplicates: NearDuplicates, config: DataConfig
) -> tuple[Sequence[Record], list[Finding]]:
    """Give near-duplicates a common group, joined with the groups that images have."""
    own, given = _own(records), _given(records, config)
    # Images of a given split cannot move. Of the others, those with a near-duplicate in a given
    # test or validation split join it, which keeps them out of training.
    clusters = near_duplicates.join(own, (given == 0).astype(int))
    sides = given.clip(0)
    for split in (1, 2):
        held = clusters[given == split]
        sides[(given == -1) & np.isin(clusters, held)] = split
    clusters = near_duplicates.join(own, sides)
    large = np.bincount(clusters)[clusters] * LARGEST > len(records)
    findings = []
    if large.any():
        whole, clusters = clusters, near_duplicates.join(own, sides, large)
        for number in np.unique(whole[large]).tolist():
            members = np.flatnonzero(whole == number)
            if len(np.unique(clusters[members])) > 1:  # else its own group is that large
                findings.append(_say_large(records, near_duplicates, members, "kept together"))
    return _named(records, clusters, near_duplicates), findings


def _named(
    records: Sequence[Record], clusters: Indices, near_duplicates: NearDuplicates
) -> Sequence[Record]:
    """The records with a group for each cluster: an own group's name, or one of its own."""
    sizes = np.bincount(clusters)
    names: dict[int, str | None] = {}
    for i in np.argsort(near_duplicates.rank).tolist():
        group, cluster = records[i].group, int(clusters[i])
        if group is not None and group < (names.get(cluster) or "\U0010ffff"):
            names[cluster] = group
    taken = {record.group for record in records}
    for i in np.argsort(near_duplicates.rank).tolist():
        cluster = int(clusters[i])
        if cluster not in names and sizes[cluster] > 1:
            new = f"twins of {records[i].name}"
            while new in taken:
                new += "'"
            names[cluster] = new
    return [
        record if record.group == (name := names.get(cluster)) else replace(record, group=name)
        for record, cluster in zip(records, clusters.tolist(), strict=True)
    ]


def _drop(
    records: Sequence[Record],
    near_duplicates: NearDuplicates,
    torn: NDArray[np.bool_],
    config: DataConfig,
) -> tuple[Indices, list[Finding]]:
    """Positions of the images to keep: of each cluster the first by name.

    It is one of the given test images if the cluster has some, or else of the given validation
    images, so that given test images stay what they are. No picture with two labels
    is kept.
    """
    everyone = np.arange(len(records))
    clusters = near_duplicates.join(everyone)
    large = np.bincount(clusters)[clusters] * LARGEST > len(records)
    findings = []
    for number in np.unique(clusters[large]).tolist():
        members = np.flatnonzero(clusters == number)
        if len(np.unique(near_duplicates.first[members])) > 1:
            findings.append(_say_large(records, near_duplicates, members, "dropped"))
    clusters = np.where(large, len(records) + near_duplicates.first, clusters)
    order = np.lexsort([near_duplicates.rank, -_given(records, config), clusters])
    order = order[~torn[order]]
    _, firsts = np.unique(clusters[order], return_index=True)
    kept = np.sort(order[firsts])
    dropped = len(records) - len(kept) - int(torn.sum())
    if dropped:
        text = (
            f"{counted(dropped, 'image')} left out, for another image with the same picture or "
            "nearly the same is kept (data.near_duplicates: drop)"
        )
        findings.append(Finding(Topic.NEAR_DUPLICATES, text, "data.near_duplicates"))
    return kept, findings


def _say_large(
    records: Sequence[Record], near_duplicates: NearDuplicates, members: Indices, done: str
) -> Finding:
    first = min(members.tolist(), key=near_duplicates.rank.__getitem__)
    text = (
        f"{len(members):,} of {len(records):,} images are one chain of twins, such as "
        f"{records[first].name!r}: only exact copies among them are {done} "
        "(data.near_duplicates); if they show one subject, name it with data.group_by"
    )
    return Finding(Topic.NEAR_DUPLICATES, text, "data.near_duplicates")


@dataclass(frozen=True, eq=False)
class Across:
    """Images of a split that have a near-duplicate in an earlier split.

    Attributes:
        splits: numbers of the two splits in `SPLITS`.
        same, similar: (P, 2) positions of an image of the earlier split and of each image.
    """

    splits: tuple[int, int]
    same: Pairs
    similar: Pairs


def across_splits(near_duplicates: NearDuplicates, parts: Mapping[str, Indices]) -> list[Across]:
    """Find the images that have a near-duplicate in another split, for each two splits.

    Args:
        near_duplicates: near-duplicates among N images.
        parts: positions of the images of each split.
    """
    count = len(near_duplicates.first)
    member = np.full((len(SPLITS), count), -1)  # of the first copies: one image in each split
    near = np.full((len(SPLITS), count), -1)  # of the first copies: a similar one's image there
    for number, name in enumerate(SPLITS):
        images = parts[name][np.argsort(-near_duplicates.rank[parts[name]])]
        member[number, near_duplicates.first[images]] = images
    for pairs in near_duplicates.similar():
        for a, b in (pairs.T, pairs.T[::-1]):
            for there, nearby in zip(member, near, strict=True):
                has = there[b] >= 0
                nearby[a[has]] = there[b[has]]
    found = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        images = parts[SPLITS[j]]
        same, similar = (
            member[i, near_duplicates.first[images]],
            near[i, near_duplicates.first[images]],
        )
        exact, like = same >= 0, (similar >= 0) & (same < 0)
        found.append(
            Across(
                (i, j),
                np.stack([same[exact], images[exact]], axis=1),
                np.stack([similar[like], images[like]], axis=1),
            )
        )
    return found


def say_across(
    across: Sequence[Across], parts: Mapping[str, Indices], config: DataConfig
) -> Finding | None:
    """Warn of images that make validation and test scores better than they should be."""
    seconds = [pairs[:, 1] for found in across for pairs in (found.same, found.similar)]
    count = len(np.unique(np.concatenate(seconds))) if seconds else 0
    if not count:
        return None
    held_out = len(parts["validation"]) + len(parts["test"])
    have = "image has" if held_out == 1 else "images have"
    advice = {
        "warn": "data.near_duplicates: group keeps twins in one split, drop leaves out all but one",
        "group": "they are given so, or too many for one group; data.near_duplicates: drop leaves "
        "out all but one",
        "drop": "they are too many to drop (data.near_duplicates)",
    }[config.near_duplicates]
    text = (
        f"{count:,} of {held_out:,} validation and test {have} a twin in another split, which "
        f"flatters the scores; {advice}"
    )
    return Finding(Topic.NEAR_DUPLICATES, text, "data.near_duplicates")
