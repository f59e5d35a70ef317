"""The page of a report: one self-contained `index.html`, and its figures as files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata, resources

from jinja2 import Environment, StrictUndefined, Template
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from revo_ray.report.figures.chart import Chart
from revo_ray.words import without_home

FILE = "index.html"
FIGURES = "figures"
NARROW = 358
"""Width of a telephone's screen without margins, in CSS pixels."""
HINT = '<p class="swipe" aria-hidden="true">↔ swipe: wider than the screen</p>'
"""Shown on narrow screens above pictures and tables that scroll sideways."""


@dataclass(frozen=True)
class Tile:
    """A number in large type."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Block:
    """Text to copy, in a fixed-width font."""

    text: str
    title: str = ""


@dataclass(frozen=True)
class Picture:
    """A small picture with a few words below it.

    Attributes:
        content: a PNG or JPEG file.
        kind: `png` or `jpeg`.
        alt: description for those who do not see it.
        lines: words and a name each; names may be written from right to left.
        side: width and height in pixels.
    """

    content: bytes = field(repr=False)
    kind: str
    alt: str
    lines: Sequence[tuple[str, str]]
    side: int


@dataclass(frozen=True)
class Section:
    """A section of the page, shown in the order tiles, text, charts, pictures, blocks, `below`.

    Attributes:
        name: name of its anchor.
        title: heading.
        text, below: Markdown above and below the charts.
        tiles, blocks: its numbers and texts to copy.
        charts: its figures; None for one that could not be drawn.
        pictures: small pictures, side by side.
    """

    name: str
    title: str
    text: str = ""
    below: str = ""
    tiles: Sequence[Tile] = ()
    charts: Sequence[Chart | None] = ()
    pictures: Sequence[Picture] = ()
    blocks: Sequence[Block] = ()

    @property
    def drawn(self) -> list[Chart]:
        """The charts that could be drawn."""
        return [chart for chart in self.charts if chart is not None]

    @property
    def text_html(self) -> Markup:
        """`text` as HTML."""
        return to_html(self.text)

    @property
    def below_html(self) -> Markup:
        """`below` as HTML."""
        return to_html(self.below)

    @property
    def empty(self) -> bool:
        """Whether the section has no content."""
        contents = (self.text, self.below, self.tiles, self.drawn, self.pictures, self.blocks)
        return not any(contents)


@dataclass(frozen=True)
class Page:
    """Content of the page.

    Attributes:
        title, lead: heading, and the sentence below it.
        warnings: warnings above all sections, such as that the search is not finished.
        sections: sections from top to bottom; empty ones are left out.
    """

    title: str
    lead: str
    warnings: Sequence[str] = ()
    sections: Sequence[Section] = field(default=(), repr=False)

    @property
    def shown(self) -> list[Section]:
        """The sections that have content."""
        return [section for section in self.sections if not section.empty]

    def html(self) -> str:
        """The page itself."""
        return _template().render(
            title=self.title,
            lead=self.lead,
            warnings=self.warnings,
            sections=self.shown,
            figures=FIGURES,
            narrow=NARROW,
            hint=Markup(HINT),
            version=metadata.version("revo-ray"),
        )

    def files(self) -> dict[str, bytes]:
        """The figures' files, then the page, by path in `report/`."""
        charts = [chart.files() for section in self.shown for chart in section.drawn]
        files = {f"{FIGURES}/{name}": made for own in charts for name, made in own.items()}
        return files | {FILE: without_home(self.html()).encode()}


def to_html(markdown: str) -> Markup:
    """Markdown as HTML. Text from labels never becomes a tag, a link or a picture."""
    made = _markdown()
    tokens = made.parse(markdown)
    for token in tokens:
        if token.type.startswith("heading"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"  # sections have h2
    return Markup(made.renderer.render(tokens, made.options, {}))


def _table_open(renderer: object, tokens: Sequence[Token], place: int, *_: object) -> str:
    hint = HINT if _width(tokens[place:]) > NARROW else ""
    return f'{hint}<div class="scroll" tabindex="0"><table>'


def _width(tokens: Sequence[Token]) -> int:
    """About the width of the table that begins with these tokens, in CSS pixels."""
    widest, column = dict[int, int](), 0
    for token in tokens:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            column = 0
        if token.type == "inline":
            widest[column] = max(widest.get(column, 0), len(token.content))
            column += 1
    return sum(22 + 7 * letters for letters in widest.values())


@cache
def _markdown() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False}).enable("table")
    made.disable(["link", "image", "autolink", "reference", "html_block", "html_inline"])
    made.add_render_rule("table_open", _table_open)
    made.add_render_rule("table_close", lambda *_: "</table></div>")
    return made


@cache
def _template() -> Template:
    path = resources.files("revo_ray.report.pages").joinpath("templates/page.html")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    return environment.from_string(path.read_text("utf-8"))
