"""Tables as Markdown and LaTeX: both print what the cells say."""

from __future__ import annotations

import html
import re

import pytest
from rich.console import Console
from rich.markdown import Markdown

from revo_ray.report.grid import Cell, Column, Grid, escape_latex, to_latex, to_markdown
from revo_ray.report.pages.page import to_html

NASTY = r"a_b & 50% $x$ #1 {y} ~ ^ \z <t> |u| [v] * `w`"


def test_latex_prints_what_the_cells_say() -> None:
    grid = Grid(
        "T_1", "50 %", [Column("m", numbers=False), Column("v", "a&b"), Column("w", "a&b")], []
    )
    grid.rows.extend([[Cell(NASTY), Cell("1 ± 2", bold=True), Cell("−3")], [Cell("")] * 3])
    grid.rules.add(1)
    text = to_latex(grid)
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in lines] == [2, 2]
    assert r"\textbf{1 $\pm$ 2} & $-$3 \\" in lines[0]
    assert body.count(r"\midrule") == 2
    assert r"\multicolumn{2}{c}{a\&b}" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert not lines[1].startswith("[")


def test_latex_escapes_every_special_character() -> None:
    escaped = escape_latex(NASTY)
    assert not re.search(r"(?<!\\)[&%#_]", escaped)
    for command in (r"\textbackslash{}z", r"\textasciitilde{}", r"\textasciicircum{}", r"\$x\$"):
        assert command in escaped
    assert escape_latex("[1]") == "{[}1{]}"


@pytest.mark.parametrize(
    "name",
    [
        *("__x__", "_x_", "a__b__c", "*x*", "**x**", "`x`", "``", "a|b", "||", "[x](y)", "![x](y)"),
        *(
            "![",
            "<b>x</b>",
            "<http://x>",
            "#",
            "#x",
            "---",
            "===",
            "~~x~~",
            "~~~",
            "&amp;",
            "&#65;",
        ),
        *("&#65;", "\\", "a\\", r"\_x", ":---", "1.", "-"),
        *("# x", "x #", "1. x", "12) x", "- x", "+ x", "> x", "* * *", "  x", " a  b ", "a\nb"),
    ],
)
def test_any_name_is_shown_as_it_is_in_cells_headings_and_captions(name: str) -> None:
    grid = Grid(name, name, [Column(name, numbers=False), Column("b", name)], [])
    grid.rows.extend([[Cell(name), Cell(name, bold=True)], [Cell(name), Cell("x")]])
    page = str(to_html(to_markdown(grid)))
    shown = html.escape(" ".join(name.split()), quote=True).replace("&#x27;", "'")
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page)
    assert cells == [shown, f"<strong>{shown}</strong>", shown, "x"]
    assert re.findall(r"<th[^>]*>(.*?)</th>", page) == [shown, f"{shown} b"]
    assert re.findall(r"<h3>(.*?)</h3>", page) == [shown]
    assert re.findall(r"<p>(.*?)</p>", page) == [shown]
    assert set(re.findall(r"<(\w+)", page)) == {
        *("div", "table", "thead", "tbody", "tr", "th", "td", "strong", "h3", "p")
    }


def test_markdown_shows_what_the_cells_say() -> None:
    grid = Grid("T", "said", [Column("m", numbers=False), Column("v", "group")], [])
    grid.rows.append([Cell(NASTY), Cell("1 ± 2", bold=True)])
    console = Console(width=120, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(Markdown(to_markdown(grid)))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capture.get())
    assert NASTY in shown
    assert "group v" in shown
    assert "\x1b[1m1 ± 2" in capture.get()
