"""Each figure in README and docs has a result whose code is known, or stands on a list.

`tests.docs.figures` says what a figure is, and how a text names its result.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.record import RESULTS, Result, read_all
from tests.docs.figures import Block, all_blocks, blocks, listed, problems, unproven

LIST = RESULTS / "unproven.txt"
MOST = 0
"""Figures that `unproven.txt` may hold. Lower this with the list; never raise it."""

CLEAN = {"revision": "1" * 40, "clean": True, "searches": [], "measures": ["revo_ray"]}
FIGURES = {"benchmark": "speed", "ratio": 0.9628, "wins": "16 of 18", "seconds": 119.6}


def result(folder: Path, name: str = "speed", **changed: Any) -> dict[str, Result]:
    """The one record of a folder."""
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"command": "", **CLEAN, "line": FIGURES, **changed}))
    return read_all(folder)


def figures(text: str, *, measured: bool = False) -> list[str]:
    """The figures of one page."""
    heading = "## Does it win?\n\n" if measured else ""
    return [
        figure.text for block in blocks("README.md", heading + text) for figure in block.figures()
    ]


def lacking(text: str, results: dict[str, Result]) -> list[str]:
    """The figures of one page that nothing backs."""
    found: list[Block] = [*blocks("README.md", text)]
    return [figure.text for each in unproven(found, results).values() for figure in each]


def test_no_figure_is_new_without_a_result() -> None:
    wrong = problems(unproven(all_blocks(), read_all()), listed(LIST.read_text()))
    assert not wrong, "\n".join(["python -m tests.docs.figures prints the list:", *wrong])


def test_the_list_of_unproven_figures_shrinks() -> None:
    total = sum(listed(LIST.read_text()).values())
    assert total <= MOST, "measure what you state; the list takes no more"
    assert total == MOST, f"well done: lower MOST to {total}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is 3.3 points better.", ["3.3 points"]),
        ("It takes a minute, or 20 ms.", ["a minute", "20 ms"]),
        ("- an item with 96 %", ["96 %"]),
        ("| a | 2 times |", ["2 times"]),
        ("## In five minutes", ["five minutes"]),
        ("by 2 to 4 points", ["2", "4 points"]),
        ("better in 16 of 18", ["16 of 18"]),
        ("It holds 6 GB.\nAnd 3× as much.", ["6 GB", "3×"]),
        ("```console\n$ run      # ten minutes\n12 s left\n```", ["ten minutes"]),
    ],
)
def test_figures_are_found(text: str, found: list[str]) -> None:
    assert figures(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "10 epochs in batches of 32, at 0.1, image size 64",
        "11 methods × 2 seeds, images of 600×450 pixels",
        "Python 3.11 or 3.12; `--limit 5 s`; arXiv 2203.05482",
        "120 trials a minute; a second look; two machines; one of these ones",
        "```yaml\nlimit: 5 s  # after 9 seconds\n```",
        "<!-- settings: 5 seconds -->\nA lease is renewed every 5 seconds.",
        "A lease is renewed every 5 seconds <!-- settings: 5 seconds -->.",
        "## Here\n\n<!-- settings of the section: 20 % -->\n\nOn 20 % of it.\n\n- 20 %, again",
    ],
)
def test_settings_are_no_figures(text: str) -> None:
    assert figures(text) == []


def test_a_fraction_is_a_figure_where_measurements_stand() -> None:
    text = (
        "It has 0.91, -0.28 [-1.9, 0.4] of it; 10 epochs at 3e-3, Lite0.\n\n## Next\n\nIt has 0.7."
    )
    assert figures(text, measured=True) == ["0.91", "0.28", "1.9", "0.4"]


def test_a_figure_is_backed_by_the_result_that_its_block_names(tmp_path: Path) -> None:
    known = result(tmp_path)
    assert lacking("Busy for 96 % (`speed`).", known) == []
    assert lacking("Busy for 96 % ([`speed`](docs/results.md#speed)).", known) == []
    assert lacking("<!-- results: speed -->\nBusy for 96 %, in 16 of 18.", known) == []
    assert lacking("By `speed`:\n\n| a | b |\n|---|---|\n| 96 % | two minutes |", known) == []
    assert lacking("Busy for 96 %.\n\nAnd `speed`.", known) == ["96 %"]
    assert lacking("Busy for 96 % (`other`).", known) == ["96 %"]


def test_a_figure_that_its_result_does_not_have_is_not_backed(tmp_path: Path) -> None:
    text = "By `speed` busy for 97 %, in 17 of 18, and 96.3 % or 96.4 %."
    assert lacking(text, result(tmp_path)) == ["97 %", "17 of 18", "96.4 %"]


def test_a_study_is_named_without_its_folder(tmp_path: Path) -> None:
    assert lacking("Busy for 96 % (`small`).", result(tmp_path, "cells/small")) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"revision": None},
        {"revision": None, "clean": None},
        {"clean": False},
        {"searches": ["2" * 40 + "-dirty"]},
        {"searches": ["2" * 40, "None"]},
        {"measures": []},
    ],
)
def test_a_result_without_a_clean_revision_backs_nothing(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    assert lacking("Busy for 96 % (`speed`).", result(tmp_path, **changed)) == ["96 %"]


def test_the_list_must_name_each_block_with_its_number(tmp_path: Path) -> None:
    text = "It is 3 points better, and 2 times as fast."
    found = unproven([*blocks("README.md", text)], {})
    key = "README.md: It is 3 points better, and"
    assert problems(found, {key: 2}) == []
    (new,) = problems(found, {key: 1})
    assert "backs one or more of 3 points, 2 times" in new
    (new,) = problems(found, {})
    assert "3 points" in new
    (fewer,) = problems(found, {key: 3})
    assert "lower it to 2" in fewer
    (gone,) = problems({}, {key: 2})
    assert "remove it" in gone


def test_blocks_that_begin_alike_are_told_apart() -> None:
    rows = "| the same six words to begin | 3 % |\n| the same six words to go on | 4 % |"
    found = unproven([*blocks("README.md", rows)], {})
    assert [[figure.text for figure in each] for each in found.values()] == [["3 %"], ["4 %"]]
