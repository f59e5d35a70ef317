"""Whether the cluster starts machines when they are needed, and what it could never start.

Ray's autoscaler does not publish which machines it may start, only what it does and what it finds
infeasible; so the only way to know is to ask it for one. Without an autoscaler, a cluster that
somebody started by hand runs the same process in a read-only mode, which publishes too.
"""

from __future__ import annotations

import json
import time

import ray
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]
from ray.experimental.internal_kv import _internal_kv_get

ANSWER_S = 20.0
"""How long an answer may take; the autoscaler looks every 5 s."""

STATUS = "__autoscaling_status"
"""Where the first version of the autoscaler publishes what it sees."""

READ_ONLY = "node_"
"""What it calls machines that somebody else started."""


def starts_machines() -> bool:
    """Whether machines are started for what waits.

    On Kubernetes also where the cluster's groups have a fixed size; `refuses` then says so.
    """
    status = json.loads(_internal_kv_get(STATUS) or "{}")
    kinds = (status.get("autoscaler_report") or {}).get("active_nodes") or {}
    if any(not kind.startswith(READ_ONLY) for kind in kinds):
        return True
    reply = _status()
    machines = reply.cluster_resource_state.node_states
    return _answers(reply) and any(machine.ray_node_type_name for machine in machines)


def refuses(bundle: dict[str, float]) -> bool:
    """Whether no machine that could be started would hold these resources.

    Asks for one; what is started thereby serves what comes next. The first version of the
    autoscaler never says no.
    """
    if not _answers(_status()):
        return False
    group = ray.util.placement_group([bundle])
    name = f"{group.id.hex()}:"
    try:
        deadline, asked = time.monotonic() + ANSWER_S, None
        while time.monotonic() < deadline:
            reply = _status()
            now, answer = reply.cluster_resource_state, reply.autoscaling_state
            if any(no.details.startswith(name) for no in answer.infeasible_gang_resource_requests):
                return True
            if asked is None and any(
                waits.details.startswith(name) for waits in now.pending_gang_resource_requests
            ):
                asked = now.cluster_resource_state_version
            if asked is not None and answer.last_seen_cluster_resource_state_version >= asked:
                return False
            time.sleep(0.5)
        return False
    finally:
        ray.util.remove_placement_group(group)


def _answers(reply: GetClusterStatusReply) -> bool:
    """Whether the second version of the autoscaler is at work."""
    return reply.autoscaling_state.autoscaler_state_version > 0


def _status() -> GetClusterStatusReply:
    client = ray._private.worker.global_worker.gcs_client  # type: ignore[attr-defined]
    return GetClusterStatusReply.FromString(client.get_cluster_status(timeout_s=ANSWER_S))
