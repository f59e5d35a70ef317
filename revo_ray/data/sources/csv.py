"""A manifest with the columns path and label, and optionally group and split."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace

from revo_ray.data.files.image_files import root_error
from revo_ray.data.image_records import Finding, GivenSplit, Problem, Record, Source, Topic
from revo_ray.data.sources.class_and_split_names import class_name, named_splits, ordered_classes
from revo_ray.data.sources.delimited import Row, read_rows
from revo_ray.data.sources.manifest import Lookup, open_manifest
from revo_ray.data.sources.root import needed_root
from revo_ray.settings.schema import DataConfig

COLUMNS = ("path", "label", "group", "split")
"""Columns that are read; the first two must be there."""


def read(config: DataConfig) -> Source:
    """Read the images that the manifest at `data.root` lists, and no others.

    Paths are relative to the manifest's folder. In a local manifest they may be absolute or lead
    out of the folder.

    Raises:
        UserError: the manifest cannot be read, lacks a column, or gives no image or one class.
    """
    uri = needed_root(config, "the csv or tsv file")
    content, lookup = open_manifest(uri)
    rows = read_rows(content, repr(uri), COLUMNS[:2])
    if not rows:
        raise root_error(f"{uri!r} lists no image")
    values = {row.cells.get("split", ""): None for row in rows}
    splits = named_splits([value for value in values if value], config.splits)
    records, problems, repeated = _records(rows, lookup, splits, strict=config.splits == "given")
    if not records:
        raise root_error(
            f"none of the {len(rows):,} rows of {uri!r} can be used; the first: "
            f"{problems[0].name}: {problems[0].cause}"
        )
    warnings = []
    if repeated:
        text = f"{repeated:,} rows repeat an earlier one and are left out"
        warnings.append(Finding(Topic.OTHER, text))
    unread = [name for name in rows[0].cells if name and name not in COLUMNS]
    if unread:
        text = (
            f"columns not read: {', '.join(map(repr, unread))}; call the one that says which "
            "images belong together 'group', and the one with the split 'split'"
        )
        warnings.append(Finding(Topic.OTHER, text))
    labels = {class_name(row.cells["label"]) for row in rows if not row.surplus}
    return Source(ordered_classes(labels - {""}), tuple(records), tuple(problems), tuple(warnings))


def _records(
    rows: Sequence[Row], lookup: Lookup, splits: Mapping[str, GivenSplit], *, strict: bool
) -> tuple[list[Record], list[Problem], int]:
    """Return a record of each file, the problems, and the number of rows that repeat another."""
    problems = []
    first: dict[str, tuple[int, Record]] = {}
    clashes: dict[str, tuple[int, int]] = {}
    repeated = 0
    for row in rows:
        path, group = row.cells["path"], row.cells.get("group") or None
        split = splits.get(row.cells.get("split", ""))
        found = _fault(row, strict and split is None) or lookup(posixpath.normpath(path))
        if isinstance(found, str):
            problems.append(Problem(path or "no path", f"{found} (line {row.line})"))
            continue
        record = Record(found.path, class_name(row.cells["label"]), found, group, split)
        line, earlier = first.setdefault(found.path, (row.line, record))
        if record != replace(earlier, picture=found):
            clashes.setdefault(found.path, (line, row.line))
        elif line != row.line:
            repeated += 1
    problems += [
        Problem(path, f"lines {one} and {other} give it another label, group or split")
        for path, (one, other) in clashes.items()
    ]
    return (
        [record for path, (_, record) in first.items() if path not in clashes],
        problems,
        repeated,
    )


def _fault(row: Row, needs_split: bool) -> str | None:
    """Name a fault of the row itself, if it has one; `needs_split`: its split is not known."""
    if row.surplus:
        return f"{row.surplus} more cells than the header; put quotes around text with delimiters"
    if not row.cells["path"]:
        return "no path"
    if not row.cells["label"]:
        return "no label"
    word = row.cells.get("split", "")
    if needs_split and word:
        return f"the unknown split {word!r}; say train, validation or test"
    return None
