"""Verdicts: a difference is claimed only where the data could and do show one."""

from __future__ import annotations

import pytest

from revo_ray.report.paired_tests import compare
from revo_ray.report.statistics_text import verdict

UP = [0.01 + 0.001 * number for number in range(12)]


@pytest.mark.parametrize(
    ("differences", "others", "expected"),
    [
        (UP[:5], 0, "cannot be decided"),
        (UP[:6], 0, "better"),  # 2 / 2^6 = 0.031
        ([-value for value in UP[:6]], 0, "worse"),
        (UP[:6], 1, "cannot be decided"),  # two comparisons: 0.0625
        (UP[:7], 1, "better"),
        (UP[:5] + [0.0] * 7, 0, "cannot be decided"),  # pairs of equal scores say nothing
        (UP[:6] + [-value for value in UP[6:]], 0, "not decided"),
        ([0.0] * 12, 0, "equal in every pair"),
        ([], 0, "no pairs yet"),
        ([*UP[:11], -9.0], 0, "differs; which is better depends on the measure"),
    ],
)
def test_the_verdict_of_a_comparison(differences: list[float], others: int, expected: str) -> None:
    """`others` more methods, with the same pairs, are compared with the same reference."""
    reference = dict.fromkeys(range(len(differences)), 0.5)
    method = {block: 0.5 + value for block, value in enumerate(differences)}
    scores = {"reference": reference, "method": method} | {
        str(other): {block: 0.5 + value for block, value in enumerate(UP[: len(differences)])}
        for other in range(others)
    }
    assert verdict(compare(scores, "reference")[0], 0.05) == expected
