"""Measures the ledger: a long search of a cheap function, row by row, and its resumption.

Drives `SearchState` by hand, without Ray: proposals, rows, TensorBoard's files and the best
model's bookkeeping are real; a "training" is a sum of squares over 54 units. Times every row, then
opens the finished run directory anew, as `--resume` does. Prints one JSON line.

    python -m benchmarks.ledger [--evaluations 10000]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.record import begin
from revo_ray.methods import make_method
from revo_ray.run.shown import show_in_tensorboard
from revo_ray.rundir import RunDirectory
from revo_ray.search.core.state import SearchState
from revo_ray.settings.schema import SearchConfig

MEASURES = (
    *("revo_ray/evolve", "revo_ray/methods", "revo_ray/monitor", "revo_ray/rundir"),
    *("revo_ray/search/core", "revo_ray/storage.py"),
)
EPOCHS = 10


@dataclass(frozen=True)
class Layer:
    """A unit of a network that nobody builds."""

    name: str
    head: bool = False


UNITS = [Layer(f"layer{number}", head=number == 53) for number in range(54)]


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--evaluations", type=int, default=10_000)
    arguments, record = begin(parser, "ledger", MEASURES)
    evaluations = arguments.evaluations
    with tempfile.TemporaryDirectory(prefix="revo-") as folder:
        seconds = run(open_state(folder, evaluations))
        began = time.perf_counter()
        resumed = open_state(folder, evaluations)
        resume = time.perf_counter() - began
        assert resumed.spent
        assert len(resumed.ledger) == evaluations
    tenth = len(seconds) // 10
    first, last = (statistics.median(part) for part in (seconds[:tenth], seconds[-tenth:]))
    line = {
        "evaluations": evaluations,
        "genes": len(UNITS),
        "epochs": EPOCHS,
        "ms_per_evaluation_first_tenth": round(1000 * first, 3),
        "ms_per_evaluation_last_tenth": round(1000 * last, 3),
        "last_over_first": round(last / first, 2),
        "resume_seconds": round(resume, 2),
        "resume_over_run": round(resume / sum(seconds), 3),
    }
    record.finish(line, [resumed.config.search.seed])


def open_state(folder: str, evaluations: int) -> SearchState:
    """The search as it stands in the folder, with what TensorBoard lacks written."""
    config = SearchConfig.load(None, [f"search.evaluations={evaluations}", "name=long"])
    method = make_method(config.method)
    state = SearchState(config, RunDirectory(folder), method, list(UNITS), {}, {})
    show_in_tensorboard(state)
    return state


def run(state: SearchState) -> list[float]:
    """Make every evaluation; seconds that each took, from its proposal to the next."""
    seconds: list[float] = []
    while True:
        began = time.perf_counter()
        request = state.next_request()
        if request is None or request.proposal is None:
            return seconds
        state.record(request.proposal, measure(request.config), "trial")
        state.tell(request.proposal.evaluation)
        seconds.append(time.perf_counter() - began)


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """The result that a worker would report."""
    loss = sum((rate - 0.01) ** 2 for rate in config["plan"]["unit_lrs"])
    curve = [
        {"epoch": epoch, "train_loss": loss, "images": 89 * epoch, "seconds": float(epoch)}
        for epoch in range(1, EPOCHS + 1)
    ]
    row = {"status": "ok", "val_loss": loss, "curve": curve, "epochs": EPOCHS}
    return {"row": row, "cold": False, "whole": True}


if __name__ == "__main__":
    main()
