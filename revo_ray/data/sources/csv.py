"""A table of images: the columns path and label, and if need be group and split."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from revo_ray.data.records import GivenSplit, Problem, Record, Source
from revo_ray.data.sources.common import (
    SPLIT_WORDS,
    in_order,
    label_of,
    needed_root,
    shown_root,
)
from revo_ray.data.sources.delimited import Row, read_rows
from revo_ray.data.sources.manifest import Lookup, open_table
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

COLUMNS = ("path", "label", "group", "split")
"""The first two are needed."""


def read(config: DataConfig) -> Source:
    """The images that the table at `data.root` lists; paths are relative to its folder.

    In a local table they may also be absolute or lead out of the folder. Images beside the listed
    ones are not looked at.

    Raises:
        UserError: the table cannot be read, lacks a column, or gives no image or one class only.
    """
    uri = needed_root(config, "the csv or tsv file")
    content, lookup = open_table(uri)
    rows = read_rows(content, shown_root(uri), COLUMNS[:2])
    if not rows:
        raise UserError(f"{shown_root(uri)} lists no image", key="data.root")
    records, problems, repeated = _records(rows, lookup, strict=config.splits == "given")
    if not records:
        raise UserError(
            f"none of the {len(rows):,} rows of {shown_root(uri)} can be used; the first: "
            f"{problems[0].name}: {problems[0].cause}",
            key="data.root",
        )
    warnings = [f"{repeated:,} rows repeat an earlier one and are left out"] if repeated else []
    unread = [name for name in rows[0].cells if name and name not in COLUMNS]
    if unread:
        warnings.append(
            f"columns not read: {', '.join(map(repr, unread))}; call the one that says which "
            "images belong together 'group', and the one with the split 'split'"
        )
    labels = {label_of(row.cells["label"]) for row in rows if not row.surplus}
    return Source(
        in_order(labels - {""}),
        tuple(records),
        tuple(problems),
        tuple(warnings),
    )


def _records(
    rows: Sequence[Row], lookup: Lookup, *, strict: bool
) -> tuple[list[Record], list[Problem], int]:
    """A record for each file, the problems, and how many rows repeat an earlier one."""
    problems = []
    first: dict[str, tuple[int, Record]] = {}
    clashes: dict[str, tuple[int, int]] = {}
    repeated = 0
    for row in rows:
        path, group = row.cells["path"], row.cells.get("group") or None
        found = _fault(row, strict) or lookup(posixpath.normpath(path))
        if isinstance(found, str):
            problems.append(Problem(path or "no path", f"{found} (line {row.line})"))
            continue
        record = Record(found.path, label_of(row.cells["label"]), found, group, _split(row))
        line, earlier = first.setdefault(found.path, (row.line, record))
        if record != earlier:
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


def _split(row: Row) -> GivenSplit | None:
    return SPLIT_WORDS.get(row.cells.get("split", "").lower())


def _fault(row: Row, strict: bool) -> str | None:
    """What is wrong with a row itself; `strict` where its split counts, if it names one."""
    if row.surplus:
        return f"{row.surplus} more cells than the header; put quotes around text with delimiters"
    if not row.cells["path"]:
        return "no path"
    if not row.cells["label"]:
        return "no label"
    word = row.cells.get("split", "")
    if strict and word and not _split(row):
        return f"the unknown split {word!r}; say train, validation or test"
    return None
