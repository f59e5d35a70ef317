"""From the rows of a table to image records, whatever kind of file the table is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from revo_ray.credentials import holds_credentials
from revo_ray.data.files.image_files import File, root_error
from revo_ray.data.image_records import Finding, Problem, Record, Source, Topic
from revo_ray.data.sources.class_and_split_names import class_name, ordered_classes
from revo_ray.data.sources.group_names import group_of
from revo_ray.data.sources.label_findings import MISSING, missing_labels
from revo_ray.data.sources.tables.columns import Columns
from revo_ray.data.sources.tables.manifest import Found
from revo_ray.data.sources.tables.split_values import split_values
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig


class Row(NamedTuple):
    """A row of a table of images.

    Attributes:
        place: where it stands, such as `line 3`.
        image: text of its image for messages; "" if it has none.
        label: text of its label.
        split: text of its split.
        group: text of its group.
        fault: cause why the row cannot be used, if the table knows one.
    """

    place: str
    image: str
    label: str
    split: str = ""
    group: str = ""
    fault: str | None = None


class Rows(NamedTuple):
    """The images of a table, before any is looked for.

    Attributes:
        rows: the rows.
        columns: names of the columns.
        splits: column or files that name the splits, for messages.
        classes: class names in their order, if the table says it.
    """

    rows: Sequence[Row]
    columns: Columns
    splits: str
    classes: Sequence[str] = ()


def records_of(
    table: Rows,
    config: DataConfig,
    find: Callable[[int, Row], Found | str],
    hint: Callable[[], str],
) -> Source:
    """Make a record of each image.

    Args:
        table: rows of the table.
        config: configuration of the images.
        find: finds the image of a row by the row's number, or returns the cause if there is none.
        hint: says how images may be found, if none is; "" if nothing is known.

    Raises:
        UserError: no row can be used, there is one class, or a split or a group is not understood.
    """
    splits = split_values((row.split for row in table.rows), config, table.splits)
    by_path = None
    if config.group_by is not None and table.columns.group is None:
        by_path = group_of(config.group_by)
    problems: list[Problem] = []
    first: dict[object, tuple[Row, Record]] = {}
    clashes: dict[object, tuple[str, str]] = {}
    repeated: list[tuple[str, str]] = []
    missing: Counter[str] = Counter()
    for number, row in enumerate(table.rows):
        found = _fault(row) or find(number, row)
        if isinstance(found, str):
            secret = holds_credentials(row.image)
            name = "a URI" if secret else row.image or "no path"
            problems.append(Problem(name, f"{found} ({row.place})"))
            missing.update([row.label] if row.label and row.label in MISSING else [])
            continue
        group = by_path(found.path) if by_path else row.group or None
        record = Record(
            found.name, class_name(row.label), found.picture, group, splits.get(row.split)
        )
        earlier, kept = first.setdefault(found.key, (row, record))
        if record != replace(kept, name=record.name, picture=record.picture):
            clashes.setdefault(found.key, (earlier.place, row.place))
        elif earlier is not row:
            repeated.append((record.name, kept.name))
    problems += [
        Problem(first[key][1].name, f"{_places(*places)} give it another label, group or split")
        for key, places in clashes.items()
    ]
    records = [record for key, (_, record) in first.items() if key not in clashes]
    if all(isinstance(record.picture, File) for record in records):
        records.sort(key=lambda record: record.name)  # the same splits in any order of the rows
    advice = hint() if any("no such file" in problem.cause for problem in problems) else ""
    if not records:
        raise _no_records(table, config, problems, advice)
    if by_path and not any(record.group for record in records):
        raise UserError(
            f"{config.group_by!r} is no column of the table, and gives no group for paths such as "
            f"{records[0].name!r}",
            key="data.group_by",
        )
    findings = [*missing_labels(missing), *_repetitions(repeated)]
    if advice:
        findings.append(Finding(Topic.UNREADABLE, advice, "data.image_pattern"))
    labels = {class_name(row.label) for row in table.rows if row.fault is None}
    names = ordered_classes(labels - MISSING)
    if set(names) <= set(table.classes):
        names = tuple(name for name in table.classes if name in labels)
    return Source(names, tuple(records), tuple(problems), tuple(findings))


def _fault(row: Row) -> str | None:
    """Name a fault of the row itself, if it has one."""
    if row.fault is not None:
        return row.fault
    if not row.image:
        return "no path"
    if class_name(row.label) in MISSING:
        return f"no label but {row.label!r}" if row.label else "no label"
    return None


def _places(one: str, other: str) -> str:
    """`lines 2 and 5`; the two places as they are, if they are not lines of one file."""
    word, _, number = other.rpartition(" ")
    alike = one.rpartition(" ")[0] == word
    return f"{one.replace(word, f'{word}s', 1)} and {number}" if alike else f"{one} and {other}"


def _repetitions(repeated: Sequence[tuple[str, str]]) -> list[Finding]:
    if not repeated:
        return []
    text = f"{len(repeated):,} rows repeat an earlier one and are left out"
    if twice := [f"{one!r} is {other!r}" for one, other in repeated if one != other]:
        more = f" and {len(twice) - 3:,} more" if len(twice) > 3 else ""
        text += f"; files named in two ways: {', '.join(twice[:3])}{more}"
    return [Finding(Topic.OTHER, text)]


def _no_records(
    table: Rows, config: DataConfig, problems: Sequence[Problem], advice: str
) -> UserError:
    named, cause = problems[0]
    error = root_error(
        f"none of the {len(table.rows):,} rows of {config.root!r} can be used; the first: {named}: "
        f"{cause}" + (f"; {advice}" if advice else "")
    )
    return UserError(error.args[0], key="data.image_pattern") if advice else error
