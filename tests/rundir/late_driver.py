"""A driver of a search of numbers, in a process of its own, that stops while it writes a row.

python -m tests.rundir.late_driver URI OFFSET MOMENT
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from revo_ray.errors import SearchError
from revo_ray.methods import make_method
from revo_ray.rundir.lock import RunLock
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.state import SearchState
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage

FAST = {"heartbeat": 0.2, "patience": 3.0, "read_back": 0.5}
EVALUATIONS, STALLS_AT = 8, 2


@dataclass(frozen=True)
class Layer:
    """A unit of a network that nobody builds."""

    name: str
    head: bool = False


def open_state(uri: str, guard: Callable[[], None] = lambda: None) -> SearchState:
    """The search as it stands."""
    config = SearchConfig.load(
        None, [f"search.evaluations={EVALUATIONS}", "search.population=4", "search.keep=1"]
    )
    units: list[Any] = [Layer("first"), Layer("last", head=True)]
    method = make_method(config.method)
    return SearchState(config, RunDirectory(uri), method, units, {}, {}, guard=guard)


def work(state: SearchState, offset: float, until: int = EVALUATIONS) -> None:
    """Make the evaluations that are left; a loss is the sum of the rates and a driver's own."""
    while len(state.ledger) < until:
        request = state.next_request()
        assert request is not None
        assert request.proposal is not None
        loss = offset + sum(request.config["plan"]["unit_lrs"])
        row = {"status": "ok", "val_loss": loss, "epochs": 1}
        state.record(request.proposal, {"row": row, "cold": False, "whole": True}, str(offset))
        state.tell(request.proposal.evaluation)


def stall(moment: str, lock: RunLock) -> None:
    """Stop this process before or after it writes a row, but not while it renews its lease."""
    create, lease = Storage.create, lock._lease
    assert lease is not None

    def stalling(storage: Storage, path: str, content: bytes) -> bytes:
        if not path.endswith(f"{STALLS_AT:06d}.json"):
            return create(storage, path, content)
        with lease._mutex:
            if moment == "before":
                os.kill(os.getpid(), signal.SIGSTOP)
            stands = create(storage, path, content)
            if moment == "after":
                os.kill(os.getpid(), signal.SIGSTOP)
        return stands

    Storage.create = stalling  # type: ignore[method-assign]


if __name__ == "__main__":
    uri, offset, moment = sys.argv[1:]
    lock = RunLock(Storage(uri), **FAST)
    stall(moment, lock)
    try:
        work(open_state(uri, guard=lock.check), float(offset))
        print("ended")
    except SearchError as error:
        print(error)
    finally:
        lock.close()
