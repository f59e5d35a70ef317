"""Verdicts: a difference is claimed only where the data could and do show one."""

from __future__ import annotations

import pytest

from revo_ray.report.paired_tests import Block, compare
from revo_ray.report.statistics_text import verdict

UP = [0.01 + 0.001 * number for number in range(12)]


@pytest.mark.parametrize(
    ("differences", "others", "expected"),
    [
        (UP[:1], 0, "cannot be decided"),
        ([0.01] * 3, 0, "cannot be decided"),  # no spread: nothing tells how far chance goes
        (UP[:3], 0, "better"),
        ([-value for value in UP[:3]], 0, "worse"),
        ([0.01, 0.02], 0, "not decided"),  # p 0.20
        ([0.01, 0.03, 0.05], 0, "not decided"),  # p 0.12
        ([0.01, 0.02, 0.03, 0.02], 0, "better"),  # p 0.015
        ([0.01, 0.02, 0.03, 0.02], 4, "not decided"),  # corrected for five comparisons
        (UP[:6] + [-value for value in UP[6:]], 0, "not decided"),
        ([0.0] * 12, 0, "equal in every pair"),
        ([], 0, "no pairs yet"),
        ([*UP[:11], -9.0], 0, "not decided"),
    ],
)
def test_the_verdict_of_a_comparison(differences: list[float], others: int, expected: str) -> None:
    """`others` more methods, which hardly differ, are compared with the same reference."""
    blocks = range(len(differences))
    scores = {"reference": dict.fromkeys(blocks, 0.5)}
    scores["method"] = {block: 0.5 + value for block, value in enumerate(differences)}
    for other in range(others):
        scores[str(other)] = {block: 0.5 + 0.01 * (-1) ** block for block in blocks}
    names = {block: Block("cell", "digits", block) for block in blocks}
    assert verdict(compare(scores, names, "reference")[0], 0.05) == expected
