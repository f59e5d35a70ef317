"""Counts the evaluations that a figure leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from revo_ray.report.loaded_run import Run
from revo_ray.rundir import Evaluation


def left_out_text(runs: Sequence[Run], drawn: Sequence[Evaluation]) -> str:
    """Count the evaluations that a figure leaves out, by reason; empty if it shows all."""
    kept = set(map(id, drawn))
    swept = {id(row) for run in runs for row in run.swept}
    counts = Counter(
        "of the sweep" if id(row) in swept else _reason(run, row)
        for run in runs
        for row in run.rows
        if id(row) not in kept
    )
    if not counts:
        return ""
    return f"Left out: {', '.join(f'{count} {why}' for why, count in counts.items())}."


def _reason(run: Run, row: Evaluation) -> str:
    unscored = "without a score" if not run.objective.counts(row) else "without a plan"
    return _REASONS.get(row.status, unscored)


_REASONS = {
    "error": "with an error",
    "stopped": "stopped early",
    "cached": "repeated",
    "diverged": "diverged",
}
