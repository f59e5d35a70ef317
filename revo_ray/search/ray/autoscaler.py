"""The autoscaler: whether it starts machines, and whether it would start one for an evaluation.

Ray's autoscaler does not publish which machines it may start, only what it does; so the only way
to know is to ask it for one. Without an autoscaler, a cluster that somebody started by hand runs
the same process in a read-only mode, which publishes too.
"""

from __future__ import annotations

import time
from typing import Any

import ray

from revo_ray.search.ray import internals

ANSWER_S = 30.0
"""Seconds that the autoscaler has to act on a request; it looks at requests every 5 s."""

READ_ONLY = "node_"
"""Prefix of the type of machines that somebody else started."""


def starts_machines() -> bool:
    """Whether machines are started for evaluations that wait.

    On Kubernetes also where the cluster's groups have a fixed size; `refuses` then says so.
    """
    kinds = list(internals.autoscaler_report().get("active_nodes") or {})
    status = internals.cluster_status()
    if _is_at_work(status):
        kinds += [node.ray_node_type_name for node in (*status.active_nodes, *status.idle_nodes)]
    return any(not kind.startswith(READ_ONLY) for kind in kinds)


def refuses(bundle: dict[str, float]) -> bool:
    """Whether the autoscaler starts no machine for these resources.

    Asks for one; what is started thereby serves what comes next. The first version of the
    autoscaler never says no.
    """
    if not _is_at_work(internals.cluster_status()):
        return False
    group = ray.util.placement_group([bundle])
    try:
        asked = None
        deadline = time.monotonic() + 2 * ANSWER_S
        while time.monotonic() < deadline:
            status = internals.cluster_status()
            if status.pending_launches or status.pending_nodes or status.failed_launches:
                return False
            if asked is None and any(
                demand.pg_id == group.id.hex()
                for demand in status.resource_demands.placement_group_demand
            ):
                asked = time.monotonic()
            if asked is not None and time.monotonic() - asked > ANSWER_S:
                return True
            if group.wait(0.5):
                return False
        return False
    finally:
        ray.util.remove_placement_group(group)


def _is_at_work(status: Any) -> bool:
    """Whether this is the status of a cluster with the second version of the autoscaler."""
    return status is not None and int(status.stats.autoscaler_version or 0) > 0
