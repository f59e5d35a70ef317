"""The picture of the terminal fetches nothing, and shows what the program shows today."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from docs.terminal_picture import PICTURE, draw, look
from revo_ray.storage import Storage
from tests.monitor.synthetic import open_state, run

HARMLESS = {"http://www.w3.org/2000/svg", "https://www.textualize.io"}
"""The namespace, and a comment of the library that drew it."""


def texts(svg: str) -> str:
    root = ElementTree.fromstring(svg)
    return "\n".join("".join(each.itertext()) for each in root.iter() if each.tag.endswith("text"))


def test_it_has_no_remote_reference() -> None:
    svg = PICTURE.read_text()
    assert set(re.findall(r"\w+://[^\s\"')<]+", svg)) <= HARMLESS
    assert not re.search(r"@font-face|@import|url\((?!#)|xlink:href|<image|<script|href=", svg)


def test_it_is_drawn_by_the_code_that_draws_the_terminal(tmp_path: Path) -> None:
    state = open_state(Storage(str(tmp_path)))
    state.run.write_config(state.config, {}, {})
    run(state)
    title, view = look(state.run)
    shown = texts(draw(title, view)).replace("\xa0", " ")
    for line in (title, view.first, *view.more):
        assert line in shown
    committed = texts(PICTURE.read_text()).replace("\xa0", " ")
    for words in (
        " evaluations · generation ",
        " so far · about ",
        " left",
        "best validation loss",
    ):
        assert words in shown
        assert words in committed
