"""Tables as text: Markdown to read, LaTeX (booktabs) to print."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from revo_ray.errors import printable

MISSING = "–"


class Cell(NamedTuple):
    """Text of one table cell."""

    text: str
    bold: bool = False


class Column(NamedTuple):
    """Name of a column, and the name of its group of columns."""

    name: str
    group: str = ""
    numbers: bool = True


@dataclass(frozen=True)
class Grid:
    """A table to be printed.

    Attributes:
        title: heading.
        caption: explanation, printed below the table or above it.
        columns: columns from left to right.
        rows: one cell for each column.
        rules: indices of rows with a line above them, besides the first.
    """

    title: str
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    rules: set[int] = field(default_factory=set)


def to_markdown(grid: Grid) -> str:
    """A heading, the table and its caption; each column name begins with its group's name."""
    names = [_markdown(f"{column.group} {column.name}".strip()) for column in grid.columns]
    rules = ["---:" if column.numbers else ":---" for column in grid.columns]
    rows = [
        [f"**{_markdown(c.text)}**" if c.bold else _markdown(c.text) for c in row]
        for row in grid.rows
    ]
    lines = ["| " + " | ".join(row) + " |" for row in (names, rules, *rows)]
    return "\n".join([f"## {_markdown(grid.title)}", "", *lines, "", _paragraph(grid.caption), ""])


def table_markdown(grid: Grid) -> str:
    """The table and its caption, without a heading."""
    return to_markdown(grid).partition("\n\n")[2]


def to_latex(grid: Grid) -> str:
    """A `table` environment, for the package booktabs."""
    alignment = "".join("r" if column.numbers else "l" for column in grid.columns)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(f'{grid.title}. {grid.caption}')}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        *_latex_groups(grid.columns),
        _latex_row([escape_latex(column.name) for column in grid.columns]),
        r"\midrule",
    ]
    for number, row in enumerate(grid.rows):
        if number in grid.rules:
            lines.append(r"\midrule")
        texts = [escape_latex(cell.text) for cell in row]
        marked = zip(texts, row, strict=True)
        lines.append(_latex_row([rf"\textbf{{{t}}}" if cell.bold else t for t, cell in marked]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def escape_latex(text: str) -> str:
    """LaTeX that prints a plain text."""
    return "".join(_LATEX.get(character, character) for character in text)


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the start of a row, \\ would read it as its option
    "]": "{]}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
}


def _latex_groups(columns: list[Column]) -> list[str]:
    """The row of group names, with a line under each; empty if there are no groups."""
    if not any(column.group for column in columns):
        return []
    cells, lines, start = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        span = len(list(members))
        if group:
            cells.append(rf"\multicolumn{{{span}}}{{c}}{{{escape_latex(group)}}}")
            lines.append(rf"\cmidrule(lr){{{start}-{start + span - 1}}}")
        else:
            cells += [""] * span
        start += span
    return [_latex_row(cells), " ".join(lines)]


def _latex_row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _markdown(text: str) -> str:
    """Markdown that shows a plain text, in a table or a heading."""
    return re.sub(r"([\\|*_~`<&#\[\]])", r"\\\1", printable(" ".join(text.split())))


def _paragraph(text: str) -> str:
    """Markdown that shows a plain text at the beginning of a line: no list, no quotation."""
    return re.sub(r"^(\d*)([-+=>.)])", r"\1\\\2", _markdown(text))
