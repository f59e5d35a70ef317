"""`result.json`: what a search ends with."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from revo_ray.objective import LOSS
from revo_ray.rundir.ledger import Evaluation
from revo_ray.search.core.state import SearchState
from revo_ray.storage import Storage

RESULT = "result.json"


@dataclass(frozen=True)
class SearchResult:
    """What a search ends with; `result.json` holds the same.

    Attributes:
        name, directory: of the run.
        best: the best evaluation's number, plan, genome and validation metrics; None where no
            evaluation succeeded.
        test: loss, accuracy and AUC of the best model on the test set, measured once.
        evaluations: ledger rows; `statuses` counts them by status.
        epochs, images, device_seconds: what all evaluations cost together.
        wall_seconds: from this command's start to its end; a resumed run counts its last part.
        cold_starts: workers that had to load torch, network and data in this part.
    """

    name: str
    directory: str
    best: dict[str, Any] | None
    test: dict[str, float | None] | None
    evaluations: int
    statuses: dict[str, int]
    epochs: int
    images: int
    device_seconds: float
    wall_seconds: float
    cold_starts: int


_RESULT = TypeAdapter(SearchResult)
_BEST = {"evaluation", LOSS.column}


def read_result(state: SearchState) -> SearchResult | None:
    """The result of a run directory in which nothing is left to do; None of any other."""
    return stored_result(state.storage) if state.spent and state.best_is_stored else None


def stored_result(storage: Storage) -> SearchResult | None:
    """What `result.json` holds; None without a whole one."""
    try:
        result = _RESULT.validate_json(storage.read(RESULT))
    except (OSError, ValueError):
        return None
    whole = result.best is None or result.best.keys() >= _BEST
    return result if whole else None


def write_result(state: SearchState) -> SearchResult:
    """Write what a finished search ends with, and its ledger as one table.

    Raises:
        OSError: the storage is full or unreachable.
    """
    rows = list(state.ledger)
    statuses = [row.status for row in rows]
    result = SearchResult(
        name=state.config.name,
        directory=state.storage.uri,
        best=_summary(state.best) if state.best else None,
        test=state.test,
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
    state.storage.write(RESULT, (json.dumps(asdict(result), indent=2) + "\n").encode())
    return result


def _summary(best: Evaluation) -> dict[str, Any]:
    return {
        "evaluation": best.evaluation,
        "generation": best.generation,
        "genome": best.genome,
        "plan": best.whole_plan,
    } | best.scores.columns
