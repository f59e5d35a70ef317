"""Markdown for the terminal whose tables lose nothing."""

from __future__ import annotations

from typing import ClassVar

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, MarkdownElement, TableElement
from rich.table import Table

from revo_ray.cli.console import PIPE_WIDTH


class _WholeTable(TableElement):
    """A table that a narrow terminal folds. In a pipe or a file its lines are as long as needed."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=box.SIMPLE, pad_edge=False)
        head = self.header.row.cells if self.header and self.header.row else []
        for cell in head:
            table.add_column(cell.content, justify=cell.justify, overflow="fold")
        for row in self.body.rows if self.body else []:
            table.add_row(*(cell.content for cell in row.cells))
        if console.is_terminal:
            yield table
        else:
            yield from console.render(table, options.update(width=PIPE_WIDTH))


class WholeTables(Markdown):
    """Markdown with tables that are never cut."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = Markdown.elements | {
        "table_open": _WholeTable
    }
