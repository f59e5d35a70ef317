"""Read delimited text with commas, semicolons or tabs, as spreadsheets write it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

from revo_ray.data.files.image_files import root_error
from revo_ray.data.sources.root import quoted


class Row(NamedTuple):
    """A row below the header.

    Attributes:
        line: number of the line on which the row begins, from 1.
        cells: text by column name in lower case, without spaces around either.
        surplus: number of cells that the row has more than the header.
    """

    line: int
    cells: dict[str, str]
    surplus: int


def read_rows(content: bytes, name: str, needed: Sequence[str]) -> list[Row]:
    """Read the rows below the header; empty lines are left out, and missing cells are empty.

    Args:
        content: UTF-8 with or without a byte order mark, and line ends of any kind.
        name: name of the file for messages.
        needed: columns that must be there, in lower case.

    Raises:
        UserError: the text is not UTF-8, quotes do not match, or columns are missing or doubled.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise root_error(f"{name} is not UTF-8 text (line {line}); save it as UTF-8") from None
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=_delimiter(text),
        skipinitialspace=True,
        strict=True,
    )
    header: list[str] = []
    rows = []
    begin = 1
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                pass
            elif not header:
                header = [cell.strip().lower() for cell in cells]
                _check_header(header, name, needed)
            else:
                filled = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
                values = dict(zip(header, filled, strict=False))
                rows.append(Row(begin, values, max(0, len(cells) - len(header))))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise root_error(f"{name}, line {begin}: {error}") from None
    if not header:
        raise root_error(f"{name} is empty; its first line must name the columns")
    return rows


def _delimiter(text: str) -> str:
    """Find the delimiter that is most frequent in the first line that is not empty."""
    first = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")
    return max(",;\t", key=first.count)


def _check_header(header: Sequence[str], name: str, needed: Sequence[str]) -> None:
    there = [column for column in header if column]
    if missing := [column for column in needed if column not in there]:
        raise root_error(f"{name} has no {_columns(missing)}; its columns are {quoted(there)}")
    if doubled := sorted({column for column in there if there.count(column) > 1}):
        raise root_error(f"{name} has {_columns(doubled)} twice")


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' * (len(names) > 1)} {quoted(names)}"
