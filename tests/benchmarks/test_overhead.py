"""The programs that put whole searches under a clock, on the smallest sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.runs import use_of_time
from revo_ray.rundir.evaluation import Evaluation

ROOT = Path(__file__).parents[2]


def line_of(*command: str) -> Any:
    whole = [sys.executable, "-m", *command]
    done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


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


def test_overhead_against_plain_torch_and_the_usual_trainable() -> None:
    """`plain` raises where its losses are not the ledger's; so the floor is the same training."""
    line = line_of("benchmarks.overhead", "--smoke", "--parts", "floor", "small")
    floor, small = line["floor"], line["small"]
    assert 1 <= floor["search"]["cold_starts"] <= 2
    phases = sum(floor["search"][phase] for phase in ("start", "steady", "end"))
    assert abs(phases - floor["search"]["seconds"]) < 0.1
    assert floor["steady_over_floor"] < floor["whole_over_floor"]
    assert floor["at_once"]["loss_apart"] == 0  # the same bits
    assert small["usual_an_hour"] > 0
    assert small["warm_over_usual"] > 1


def test_study() -> None:
    """Four searches of few tiny evaluations, all in the two workers that began."""
    tiny = ["data.max_images=400", "train.epochs=1", "search.population=4"]
    line = line_of("benchmarks.study", "--evaluations", "5", "--set", *tiny)
    assert line["searches"] == 4
    assert 1 <= line["cold_starts"] <= 2
    assert 0 < line["busy"]["steady"] <= line["busy"]["held"] <= 1
