"""Working time: the one clock of progress, result and report."""

from __future__ import annotations

import pytest

from revo_ray.rundir import Evaluation
from revo_ray.rundir.working_time import working_seconds


@pytest.mark.parametrize("finished", [0.0, 1_700_000_000.0])
def test_rows_without_times_add_nothing(finished: float) -> None:
    now = 1_700_000_000.0
    rows = [
        Evaluation(evaluation=0, sample={}, status="ok", started_at=now, finished_at=now + 3),
        Evaluation(evaluation=1, sample={}, status="ok", started_at=0.0, finished_at=finished),
    ]
    assert working_seconds(rows) == working_seconds(reversed(rows)) == 3
