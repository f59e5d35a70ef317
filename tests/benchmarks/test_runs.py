"""The work of the workers, read from a ledger."""

from __future__ import annotations

from benchmarks.runs import use_of_time
from revo_ray.rundir.evaluation import Evaluation


def row(number: int, began: float, ended: float, seconds: float) -> Evaluation:
    return Evaluation(
        evaluation=number,
        sample={},
        status="ok",
        seconds=seconds,
        started_at=began,
        finished_at=ended,
    )


def test_what_workers_did_is_read_from_the_ledger() -> None:
    """Two workers; one loads for a second, waits 0.1 s for its second, and is idle from 4.1 on."""
    rows = [row(0, 0, 2, 1), row(1, 0, 5, 5), row(2, 2.1, 4.1, 2), row(3, 6, 8, 2)]
    used = use_of_time(rows, 2)
    assert used["evaluations"] == 4
    assert used["held"] == round((2 + 5 + 2) / 12, 4)
    assert used["trained"] == round((1 + 5 + 2) / 12, 4)
    assert used["handover_ms"] == 100
