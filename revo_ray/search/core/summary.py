"""The summary of a search that ended, from its ledger."""

from __future__ import annotations

import time
from dataclasses import replace

from revo_ray.errors import UserError
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
    result = replace(
        SearchResult.of_rows(state.config.name, state.run.uri, rows, state.objective),
        test=state.final_test.scores,
        wall_seconds=round(time.monotonic() - state.began, 3),
        cold_starts=state.cold_starts,
        stopped_by="budget" if state.spent else "time",
        test_looks=state.run.test_looks + (state.final_test.scores is not None),
        warm_start=tuple(state.config.search.warm_start),
    )
    state.run.best.delete_candidates()  # late ones, of the workers of a killed driver
    state.ledger.write_parquet()
    state.run.write_outcome(result)
    return result
