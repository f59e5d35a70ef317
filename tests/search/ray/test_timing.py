"""Workers that time a training step: their errors, and the time that is theirs."""

from __future__ import annotations

import time

import pytest
import ray

from revo_ray.errors import SearchError, UserError
from revo_ray.finetune.training.exhausted import StepMemoryError
from revo_ray.search.ray import timing
from revo_ray.search.ray.resources import TrialResources
from revo_ray.search.ray.timing import RayWorkers
from revo_ray.settings.schema import ResourcesConfig, TrainConfig
from tests.end_to_end.conftest import one_ray

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_ray")]
__all__ = ["one_ray"]

NETWORK = "timm/test_efficientnet"
WAIT_S = 8.0


@pytest.fixture(scope="module")
def workers(one_ray: None) -> RayWorkers:
    return RayWorkers(TrialResources(1, 0), ResourcesConfig(device="cpu"))


def test_too_large_a_batch_is_told_in_a_line_with_the_keys_to_lower(workers: RayWorkers) -> None:
    with pytest.raises(StepMemoryError) as raised:
        workers.time_steps(NETWORK, 2, [64], TrainConfig(batch_size=10_000_000), 1)
    said = str(raised.value)
    assert said.startswith("train.batch_size: memory ran out")
    assert "data.image_size (64)" in said
    assert said.isprintable()


def test_another_error_of_a_worker_is_its_first_line(
    workers: RayWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("the disk is gone\nand so is the rest")

    monkeypatch.setattr(timing, "_time_steps", fails)
    with pytest.raises(SearchError) as raised:
        workers.time_steps(NETWORK, 2, [64], TrainConfig(), 1)
    assert str(raised.value) == f"cannot time a step of {NETWORK} on a worker: the disk is gone"


def test_the_key_of_a_users_error_is_named_once(workers: RayWorkers) -> None:
    with pytest.raises(UserError) as raised:
        workers.time_steps("timm/no_such_network", 2, [64], TrainConfig(), 1)
    assert str(raised.value).count("model.name") == 1


@pytest.mark.nightly
def test_a_wait_for_a_machine_is_no_part_of_a_start(workers: RayWorkers) -> None:
    """Others hold all CPUs for a while, as a machine that starts keeps tasks waiting."""
    workers.time_steps(NETWORK, 2, [32], TrainConfig(batch_size=2), 2)
    busy = ray.remote(num_cpus=2)(lambda: time.sleep(WAIT_S)).remote()
    time.sleep(1)  # until it runs
    began = time.perf_counter()
    found = workers.time_steps(NETWORK, 2, [32], TrainConfig(batch_size=2), 1)
    waited = time.perf_counter() - began
    ray.get(busy)
    assert waited > timing.PROCESS_S  # else the next line shows nothing
    assert found.start < waited - 1
    assert set(found.steps) == {32}
