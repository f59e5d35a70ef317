"""A search without training: real proposals and rows, scores from a formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from revo_ray.methods import make_method
from revo_ray.objective import Scores
from revo_ray.run.shown import show_in_tensorboard
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.state import SearchState
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage


@dataclass(frozen=True)
class Layer:
    name: str
    head: bool = False


UNITS = [*(Layer(f"block{number}.conv") for number in range(20)), Layer("classifier", head=True)]
FAILS = (3, 14)
"""Evaluations that diverge."""
EPOCHS = 2


def scores_of(loss: float) -> Scores:
    """Scores that improve as the loss does."""
    return Scores(loss, 1 / loss, loss**-0.5, loss**-2, loss**-3)


def open_state(storage: Storage, *overrides: str) -> SearchState:
    """The search in a folder, with TensorBoard's files of its rows."""
    sets = ["name=shot", "search.evaluations=30", "method.name=revo-binary", *overrides]
    config = SearchConfig.load(None, sets)
    method = make_method(config.method)
    state = SearchState(config, RunDirectory(storage), method, list(UNITS), {}, {})
    show_in_tensorboard(state)
    return state


def measured(evaluation: int, config: dict[str, Any]) -> dict[str, Any]:
    """The report of a worker: a function of the evaluation's number and plan."""
    began = 1_700_000_000.0 + 4 * evaluation
    row: dict[str, Any] = {"epochs": EPOCHS, "images": 80, "seconds": 2.5, "started_at": began}
    row["finished_at"] = began + 2.5
    if evaluation in FAILS:
        return _report(row | {"status": "diverged", "error": "the loss became nan", "epochs": 1})
    loss = 1 + sum((rate - 0.01) ** 2 for rate in config["plan"]["unit_lrs"])
    scores = scores_of(loss).columns
    curve = [{"epoch": e, "train_loss": loss / e, "seconds": float(e)} for e in (1, EPOCHS)]
    curve[-1] |= scores
    return _report(row | scores | {"status": "ok", "curve": curve})


def _report(row: dict[str, Any]) -> dict[str, Any]:
    return {"row": row, "cold": False, "whole": True}


def run(state: SearchState, workers: int = 1, rows: int = 10**9) -> None:
    """Make evaluations; with several workers the newest ends first."""
    busy: list[Any] = []
    made = 0
    while made < rows:
        while len(busy) < workers and (request := state.next_request()) is not None:
            if request.proposal is None:
                break
            busy.append(request)
        if not busy:
            return
        done = busy.pop()
        number = done.proposal.evaluation
        state.record(done.proposal, measured(number, done.config), "trial")
        state.tell(number)
        made += 1
