"""The summary of a finished search, from its ledger."""

from __future__ import annotations

import time
from typing import Any

from revo_ray.errors import UserError
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.outcome import SearchResult
from revo_ray.search.core.state import SearchState


def finished_result(state: SearchState) -> SearchResult | None:
    """The stored result of a search in which nothing is left to do; None for any other."""
    if not (state.spent and state.best_is_stored):
        return None
    try:
        return state.run.outcome()
    except UserError:  # it is written again
        return None


def write_result(state: SearchState) -> SearchResult:
    """Write the result of a search that is done, and its ledger as one table.

    Raises:
        OSError: the storage is full or unreachable.
    """
    rows = list(state.ledger)
    statuses = [row.status for row in rows]
    result = SearchResult(
        name=state.config.name,
        directory=state.run.uri,
        best=_summary(state.best) if state.best else None,
        test=state.final_test.scores,
        evaluations=len(rows),
        statuses={status: statuses.count(status) for status in sorted(set(statuses))},
        epochs=sum(row.epochs for row in rows),
        images=sum(row.images for row in rows),
        device_seconds=round(sum(row.seconds for row in rows), 3),
        wall_seconds=round(time.monotonic() - state.began, 3),
        cold_starts=state.cold_starts,
    )
    state.tidy()
    state.ledger.write_parquet()
    state.run.write_outcome(result)
    return result


def _summary(best: Evaluation) -> dict[str, Any]:
    return {
        "evaluation": best.evaluation,
        "generation": best.generation,
        "genome": best.genome,
        "plan": best.whole_plan,
    } | best.scores.columns
