"""Evaluations that only wait, in real workers of a real cluster; and what a ledger says of them."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
from ray import tune
from ray.cluster_utils import Cluster

from revo_ray.methods import make_method
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.state import SearchState
from revo_ray.search.ray.trial import _node, device_name
from revo_ray.settings.schema import SearchConfig

LONGEST_S = 120
"""That an evaluation waits for others; machines that do much else are slow."""


@dataclass(frozen=True)
class Layer:
    """A unit of a network that nobody builds."""

    name: str
    head: bool = False


class Waiting(tune.Trainable):
    """Waits, and says where, as an evaluation that trains does.

    The task says for how long; and that all from one on, in the order in which they begin, wait
    until so many have begun. Workers start one after another, and are seen at work at once only so.
    """

    def step(self) -> dict[str, Any]:
        if "make" in self.config:  # there are no weights, and no images to test
            return {"error": None, "made": True, "done": True}
        task = self.config["task"]
        began, deadline = time.time(), time.monotonic() + LONGEST_S
        begun = Path(task["begun"])
        (begun / str(self.config["evaluation"])).touch()
        while task["alone"] < len(list(begun.iterdir())) < task["together"]:
            assert time.monotonic() < deadline, "the others never began"
            time.sleep(0.05)
        time.sleep(task["seconds"])
        on_cpu: Any = SimpleNamespace(device=SimpleNamespace(type="cpu"))
        row = {
            "status": "ok",
            "val_loss": math.fsum(self.config["plan"]["unit_lrs"]),
            "node": _node(),
            "device": device_name(on_cpu),
            "started_at": began,
            "finished_at": time.time(),
        }
        return {"row": row, "cold": False, "done": True, "whole": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True


def waiting_search(
    folder: Path, *, evaluations: int, seconds: float, alone: int = 0, together: int
) -> SearchState:
    """A search of one generation whose evaluations are `Waiting`."""
    begun = folder / "begun"
    begun.mkdir(parents=True)
    config = SearchConfig.load(
        None,
        [
            *(f"search.evaluations={evaluations}", f"search.population={evaluations}"),
            "search.keep=1",  # no soup
        ],
    )
    task = {"begun": str(begun), "seconds": seconds, "alone": alone, "together": together}
    units: list[Any] = [Layer("first"), Layer("last", head=True)]
    method = make_method(config.method)
    return SearchState(config, RunDirectory(str(folder / "run")), method, units, task, {})


def most_at_once(rows: Iterable[Evaluation], key: Callable[[Evaluation], object]) -> dict[Any, int]:
    """For each key, how many of its rows were at work at the same moment."""
    moments = chain.from_iterable(
        ((row.started_at, 1, key(row)), (row.finished_at, -1, key(row))) for row in rows
    )
    now: dict[Any, int] = defaultdict(int)
    most: dict[Any, int] = defaultdict(int)
    for _, change, each in sorted(moments, key=lambda moment: moment[:2]):
        now[each] += change
        most[each] = max(most[each], now[each])
    return dict(most)


@contextmanager
def machines(*resources: dict[str, int]) -> Iterator[Cluster]:
    """A cluster of as many machines, which this process has joined."""
    made = Cluster()
    try:
        for each in resources:
            add_machine(made, **each)
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def add_machine(cluster: Cluster, **resources: int) -> Any:
    """One more machine."""
    # Ray takes 127.0.0.1 for the machine's name and looks for its address in the network.
    return cluster.add_node(
        node_ip_address="127.0.0.2",
        include_dashboard=False,
        object_store_memory=10**8,
        **resources,
    )
