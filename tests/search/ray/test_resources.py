"""How many evaluations machines hold; and storage roots with options."""

from __future__ import annotations

import logging

import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group

from revo_ray.search.core.slots import slots
from revo_ray.search.ray.resources import TrialResources
from revo_ray.storage import Storage


@pytest.mark.parametrize(
    ("cpus", "gpus", "machine", "slots"),
    [
        (1, 0, {"CPU": 2.0}, 2),
        (2, 0, {"CPU": 7.0, "GPU": 1.0}, 3),
        (1, 1, {"CPU": 16.0, "GPU": 4.0}, 4),
        (8, 1, {"CPU": 16.0, "GPU": 4.0}, 2),
        (1, 2, {"CPU": 16.0, "GPU": 5.0}, 2),
        (1, 0.5, {"CPU": 16.0, "GPU": 4.0}, 8),
        (1, 0.4, {"CPU": 16.0, "GPU": 2.0}, 4),
        (1, 0.2, {"CPU": 64.0, "GPU": 1.0}, 5),
        (1, 0.1, {"CPU": 64.0, "GPU": 1.0}, 10),
        (1, 0.05, {"CPU": 64.0, "GPU": 1.0}, 20),
        (1, 0.6, {"CPU": 64.0, "GPU": 3.0}, 3),
        (1, 1 / 6, {"CPU": 64.0, "GPU": 1.0}, 6),
        (1, 1, {"CPU": 16.0}, 0),
    ],
)
def test_slots_of_a_machine(cpus: int, gpus: float, machine: dict[str, float], slots: int) -> None:
    assert TrialResources(cpus, gpus)._fits(machine) == slots


@pytest.mark.nightly
@pytest.mark.slow
def test_ray_gives_as_many_evaluations_their_gpus_as_were_counted() -> None:
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    ray.init(address="local", num_cpus=64, num_gpus=3, **quiet)
    try:
        for gpus in (0.3, 0.4, 0.6, 1 / 3, 1 / 6, 1, 2):
            bundle = TrialResources(1, gpus).bundle
            groups = [placement_group([bundle]) for _ in range(slots(3, gpus))]
            assert all(group.wait(60) for group in groups), gpus
            groups.append(placement_group([bundle]))
            assert not groups[-1].wait(1), gpus
            for group in groups:
                remove_placement_group(group)
    finally:
        ray.shutdown()


@pytest.mark.parametrize(("gpus", "alone"), [(0, 0), (0.05, 1), (0.33, 1), (0.5, 1), (1, 1)])
def test_an_evaluation_alone_on_its_device_has_a_whole_gpu(gpus: float, alone: int) -> None:
    assert TrialResources(2, gpus).alone("device") == TrialResources(2, alone)


def test_a_storage_uris_options_stay_at_its_end() -> None:
    root = Storage("s3://bucket/folder?region=us-east-1")
    child = root.child("run")
    assert child.uri == "s3://bucket/folder/run?region=us-east-1"
    assert Storage(child.uri)._root == child._root == "bucket/folder/run"
    assert child.local is None
