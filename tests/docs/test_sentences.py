"""Sentences of README and docs are short, and open with their subject."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.figures import bare, pieces
from tests.docs.test_docs import PAGES
from tests.test_structure import NOUN_CLAUSE

MOST_WORDS = 30

END = re.compile(r"(?<=[.!?])(?<!\bal\.)(?<!\bacc\.)(?<!\be\.g\.)['\")]*\s+")
"""End of a sentence, but for a few short forms."""


def sentences(text: str) -> Iterator[str]:
    """The sentences of a page in Markdown: of paragraphs, items, headings and the cells of tables.

    Code within a sentence is one word; blocks of code have none but their comments.
    """
    text = re.sub(r"^(%.*|:?:::.*)$", "", text, flags=re.M)
    for piece in pieces(text):
        plain = re.sub(r"``.*?``|`[^`]*`", "_", re.sub(r"<!--.*?-->", "", piece, flags=re.S))
        plain = re.sub(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\](?:\([^)]*\))?", r"\1", bare(plain))
        cells = plain.split(" | ") if piece.lstrip().startswith("|") else [plain]
        for cell in cells:
            yield from filter(None, (each.strip() for each in END.split(cell)))


def words(sentence: str) -> int:
    """Words of a sentence; a list of numbers is none."""
    return bool(re.search("[a-z_]", sentence)) * len(re.findall(r"\S*\w\S*", sentence))


def faults(text: str) -> list[str]:
    """The sentences of a page that are too long, or open with a noun clause."""
    found = []
    for each in sentences(text):
        if (count := words(each)) > MOST_WORDS:
            found.append(f"{count} words: {each}")
        if NOUN_CLAUSE.match(each):
            found.append(f"opens with a noun clause: {each}")
    return found


LONG = " ".join(["word"] * MOST_WORDS)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (f"{LONG}.\nAnother one.", 0),
        (f"{LONG} more.", 1),
        (f"One. {LONG}\nmore. {LONG} `and code`.", 2),
        (f"- item\n- {LONG} [and a link](page.md)", 1),
        (f"| cell | {LONG} more |\n|---|---|\n| {LONG} | {LONG} |", 1),
        (f"## {LONG} more\n\n{LONG}", 1),
        (f"<!-- settings: {LONG} -->\n`{LONG}` is code.", 0),
        (f"```\n{LONG} more\n```\n\n% {LONG} more", 0),
        ("What it is. Where it is, a file lies. Is it? What is it?", 2),
        ("It is. `code` is what it is (Guo et al. 2017).", 0),
        ("| a | Of it |", 1),
        (f"| {' '.join(['0.5,'] * 99)} |", 0),
    ],
)
def test_faults_are_found(text: str, number: int) -> None:
    assert len(faults(text)) == number


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_are_short_and_open_with_their_subject(page: Path) -> None:
    found = faults(page.read_text())
    assert not found, "\n".join(found)
