"""Clusters that start machines, by what their autoscaler publishes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.autoscaler.v2.schema import (
    ClusterStatus,
    LaunchRequest,
    NodeInfo,
    PlacementGroupResourceDemand,
    ResourceDemandSummary,
    Stats,
)

from revo_ray.search.ray import autoscaler, internals

GROUP = "ab12"
HEAD = NodeInfo("", "head", "", "")
WAITS = ResourceDemandSummary([PlacementGroupResourceDemand([], f"{GROUP}:PACK|PENDING")])
LAUNCH = LaunchRequest("", "workers", 1, LaunchRequest.Status.PENDING, 0)


def status(version: int = 1, **parts: Any) -> ClusterStatus:
    """What a cluster with the second version of the autoscaler publishes."""
    return ClusterStatus(
        stats=Stats(gcs_request_time_s=0.0, autoscaler_version=str(version)), **parts
    )


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what is published from now on, the last one for ever."""

    def set_all(*statuses: ClusterStatus | None, report: Any = None) -> None:
        left = list(statuses)
        monkeypatch.setattr(
            internals, "cluster_status", lambda: left.pop(0) if len(left) > 1 else left[0]
        )
        monkeypatch.setattr(internals, "autoscaler_report", lambda: report or {})

    return set_all


@pytest.mark.parametrize(
    ("published", "report", "starts"),
    [
        (None, None, False),
        (None, {"active_nodes": {"node_1a2b": 1}}, False),  # a Ray that somebody started by hand
        (None, {"active_nodes": {"ray.head.default": 1}}, True),  # the autoscaler's first version
        (status(0, idle_nodes=[HEAD]), None, False),
        (status(active_nodes=[NodeInfo("", "node_1a2b", "", "")]), None, False),
        (status(idle_nodes=[HEAD]), None, True),
    ],
)
def test_machines_have_types_where_they_are_started(
    publish: Any, published: Any, report: Any, starts: bool
) -> None:
    publish(published, report=report)
    assert autoscaler.starts_machines() == starts


@pytest.mark.parametrize(
    ("published", "refuses"),
    [
        ([None], False),
        ([status(0)], False),
        ([status()], False),  # it never came to know of the request
        ([status(resource_demands=WAITS)], True),
        (
            [status(), *[status(resource_demands=WAITS)] * 3, status(pending_launches=[LAUNCH])],
            False,
        ),
        ([status(resource_demands=WAITS, pending_nodes=[HEAD])], False),
        ([status(resource_demands=WAITS, failed_launches=[LAUNCH])], False),
    ],
)
def test_it_refuses_what_it_starts_nothing_for(
    publish: Any, monkeypatch: pytest.MonkeyPatch, published: list[Any], refuses: bool
) -> None:
    publish(*published)
    now = [0.0]

    def wait(seconds: float) -> bool:
        now[0] += seconds
        return False

    group = SimpleNamespace(id=SimpleNamespace(hex=lambda: GROUP), wait=wait)
    removed: list[Any] = []
    monkeypatch.setattr(ray.util, "placement_group", lambda bundles: group)
    monkeypatch.setattr(ray.util, "remove_placement_group", removed.append)
    monkeypatch.setattr(autoscaler.time, "monotonic", lambda: now[0])
    assert autoscaler.refuses({"CPU": 1}) == refuses
    assert removed in ([], [group])
    assert bool(removed) == (published[0] is not None and published != [status(0)])
