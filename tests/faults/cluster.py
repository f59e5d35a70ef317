"""Several Ray nodes on this machine, which can be lost one by one or all at once."""

from __future__ import annotations

import logging
import os
from typing import Any

import psutil
from ray.cluster_utils import Cluster

DETECTION = {
    "health_check_initial_delay_ms": 2000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 4000,
    "health_check_failure_threshold": 3,
}
"""A lost node is noticed in seconds; Ray's own settings take a quarter of a minute."""


class Machines:
    """A head that runs no evaluations, and nodes of one core and one (logical) GPU each.

    Args:
        environment: of every process on them.
        nodes: how many to begin with.
        head_works: the head is such a node itself.
    """

    def __init__(
        self, environment: dict[str, str], nodes: int = 2, head_works: bool = False
    ) -> None:
        logging.getLogger("ray").setLevel(logging.CRITICAL)  # what is lost is lost on purpose
        # Ray takes 127.0.0.1 for the machine's name and looks for its address in the network.
        self._common: dict[str, Any] = {
            "node_ip_address": "127.0.0.2",
            "include_dashboard": False,
            "env_vars": environment,
        }
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a busy machine
        self._cluster = Cluster()
        slots = {"num_cpus": 1, "num_gpus": 1} if head_works else {"num_cpus": 0, "num_gpus": 0}
        self._head = self._cluster.add_node(_system_config=DETECTION, **slots, **self._common)
        self.nodes: list[Any] = []
        for _ in range(nodes):
            self.add()

    @property
    def address(self) -> str:
        """For `--address`."""
        return str(self._cluster.address)

    def add(self) -> None:
        """Start another node."""
        self.nodes.append(self._cluster.add_node(num_cpus=1, num_gpus=1, **self._common))

    def node_of(self, pid: int) -> Any:
        """The node with this raylet; None where it was lost."""
        return next((node for node in self.nodes if raylet(node) == pid), None)

    def remove(self, node: Any) -> None:
        """Kill all processes of a node at once."""
        self.nodes.remove(node)
        workers = _below(node)
        self._cluster.remove_node(node, allow_graceful=False)
        _kill(workers)

    def lose(self) -> None:
        """Kill everything at once, the head first."""
        workers = [worker for node in (self._head, *self.nodes) for worker in _below(node)]
        self._head.kill_all_processes(check_alive=False, allow_graceful=False)
        self.close()
        _kill(workers)

    def close(self) -> None:
        """Leave nothing running."""
        self.nodes.clear()
        self._cluster.shutdown()


def _below(node: Any) -> list[psutil.Process]:
    """The processes that a node started; a machine that is lost takes them along."""
    try:
        return psutil.Process(raylet(node)).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass


def raylet(node: Any) -> int:
    """The process that starts and ends the workers of a node."""
    (process,) = node.all_processes["raylet"]
    return int(process.process.pid)
