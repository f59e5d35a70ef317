"""A search that nobody trained: real proposals and rows, scores from a formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from revo_ray.methods import make_method
from revo_ray.monitor.curves import write_tensorboard
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


def open_state(storage: Storage, *overrides: str) -> SearchState:
    """A search as it stands, with TensorBoard's files of it."""
    sets = ["name=shot", "search.evaluations=30", "method.name=revo-binary", *overrides]
    config = SearchConfig.load(None, sets)
    method = make_method(config.method)
    state = SearchState(config, storage, method, list(UNITS), {}, {})
    write_tensorboard(state)
    return state


def measured(evaluation: int, config: dict[str, Any]) -> dict[str, Any]:
    """What a worker would report of an evaluation; a function of its number and plan."""
    began = 1_700_000_000.0 + 10 * evaluation
    row: dict[str, Any] = {"epochs": EPOCHS, "images": 80, "seconds": 2.5, "started_at": began}
    row["finished_at"] = began + 2.5
    if evaluation in FAILS:
        return _report(row | {"status": "diverged", "error": "the loss became nan", "epochs": 1})
    loss = 1 + sum((rate - 0.01) ** 2 for rate in config["plan"]["unit_lrs"])
    scores = {"val_loss": loss, "val_accuracy": 1 / loss, "val_auc": 1 / loss**0.5}
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
        state.settle(number)
        made += 1
