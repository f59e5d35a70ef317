"""Texts of files on a model card: no tag and no link of theirs is live."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from revo_ray.model.description import Description
from revo_ray.model.export.facts import FACTS, Facts, code, heading, neutral, read_facts
from revo_ray.storage import Storage

LIVE = {"html_block", "html_inline", "link_open", "image"}
PARTS = [*"\\`<>[]()!|*_:/ab \n", "<img>", "](", "]: ", "\n[a]", "://", "<b>", "\n\n", "    "]
EVIL = st.lists(st.sampled_from(PARTS)).map("".join)


def live(markdown: str) -> set[str]:
    """Kinds of live parts of a page."""
    found = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    kinds = {part.type for token in found for part in (token, *(token.children or ()))}
    return kinds & LIVE


@given(EVIL)
def test_no_text_is_live(text: str) -> None:
    for shown in (
        code(text),
        heading(text),
        neutral(text),
        f"# {heading(text)}",
        f"| a |\n|---|\n| {code(text)} |",
    ):
        assert not live(shown)


@given(EVIL)
def test_neutral_markdown_stays_as_it_is(text: str) -> None:
    assert neutral(neutral(text)) == neutral(text)


def test_addresses_are_no_links_on_sites_that_make_links_of_them() -> None:
    for made in (heading, neutral):
        shown = made("see https://evil.example and WWW.evil.example or mail")
        assert not re.search(r"(?<!\\)://|www\.", shown, re.IGNORECASE)


def test_facts_of_a_folder_are_neutral(tmp_path: Path) -> None:
    evil = "<img src=x> [win](https://evil.example) ![](https://evil.example)\n\n[a]: https://e"
    hostile = Facts(evil, "model", evil, {evil: evil, "Plan": "| `a` | **b** |\n- `[1, 2]`"})
    (tmp_path / FACTS).write_text(hostile.to_json())
    description = Description("timm/a", ("a", "b"), 8, (0.5,) * 3, (0.5,) * 3)
    found = read_facts(Storage(str(tmp_path)), description)
    texts = (found.title, found.about, *found.sections, *found.sections.values())
    assert not any(map(live, texts))
    assert "\n" not in found.title
    assert found.sections["Plan"] == hostile.sections["Plan"]
