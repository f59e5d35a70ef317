"""A csv or tsv file with a row for each image: its path, its label, perhaps a group and a split."""

from __future__ import annotations

from dataclasses import replace

from revo_ray.data.files.image_files import root_error
from revo_ray.data.files.uri import parent
from revo_ray.data.image_records import Source
from revo_ray.data.sources.root import needed_root, read_file
from revo_ray.data.sources.tables.columns import Columns, find_columns, unread_columns
from revo_ray.data.sources.tables.delimited import Row as Line
from revo_ray.data.sources.tables.delimited import read_rows
from revo_ray.data.sources.tables.image_pattern import check_pattern, guess_pattern
from revo_ray.data.sources.tables.manifest import Found, find_table, lookup_in
from revo_ray.data.sources.tables.rows import Row, Rows, records_of
from revo_ray.settings.schema import DataConfig


def read(config: DataConfig) -> Source:
    """Read the images that the table at `data.root` lists, and no others.

    Paths are relative to the table's folder, or URIs. In a local table they may be absolute or
    lead out of the folder.

    Raises:
        UserError: the table cannot be read, lacks a column, or gives no image or one class.
    """
    uri = needed_root(config, "the csv or tsv file")
    check_pattern(config)
    file = find_table(uri, "a csv or tsv file")
    if file is None:
        raise root_error(
            f"{uri!r} is a folder, and the source csv needs a csv or tsv file; the source folder "
            "reads class folders, and parquet a folder of parquet files"
        )
    content = read_file(file)
    if content.startswith(b"PAR1"):
        raise root_error(f"{uri!r} is a parquet file; read it with data.source: parquet")
    lines = read_rows(content, repr(uri), ())
    if not lines:
        raise root_error(f"{uri!r} lists no image")
    there = list(lines[0].cells)
    columns = find_columns(there, config)
    rows = [_row(line, columns) for line in lines]
    lookup = lookup_in(parent(uri), config.image_pattern)
    lost: list[str] = []

    def find(number: int, row: Row) -> Found | str:
        found = lookup.find(config.image_pattern.replace("{}", row.image))
        if found == "no such file":
            lost.append(row.image)
        return found

    def hint() -> str:
        return guess_pattern(lost, lookup.beside()) if 2 * len(lost) > len(rows) else ""

    table = Rows(rows, columns, f"the column {columns.split!r}")
    source = records_of(table, config, find, hint)
    findings = unread_columns(there, columns, config)
    return replace(source, warnings=(*source.warnings, *findings))


def _row(line: Line, columns: Columns) -> Row:
    surplus = f"{line.surplus} more cells than the header; put quotes around text with delimiters"
    return Row(
        f"line {line.line}",
        line.cells[columns.image],
        line.cells[columns.label],
        line.cells[columns.split] if columns.split else "",
        line.cells[columns.group] if columns.group else "",
        surplus if line.surplus else None,
    )
