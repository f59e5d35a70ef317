"""Each evaluation uses the device that Ray gave it, and no other, as the ledger records it."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from revo_ray.data.table.image_table import prepare_table
from revo_ray.errors import UserError
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.search.core.prepare import Preparation
from revo_ray.search.core.summary import write_result
from revo_ray.search.ray.cluster import trial_resources
from revo_ray.search.ray.experiment import run_experiment
from revo_ray.search.ray.resources import TrialResources
from revo_ray.search.ray.trial import EvaluationTrial
from revo_ray.settings.schema import SearchConfig
from tests.cluster.cheap import Waiting, machines, most_at_once, waiting_search
from tests.end_to_end.cli import SMALL

GPUS = (4, 2, 1)
CPUS = (8, 4, 10)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Machines with 4, 2 and 1 logical GPUs, and no fewer than two CPUs for each."""
    each = zip(GPUS, CPUS, strict=True)
    with machines(*({"num_gpus": gpus, "num_cpus": cpus} for gpus, cpus in each)) as made:
        yield made


def run(folder: Path, needs: TrialResources, together: int) -> list[Evaluation]:
    """The rows of a search that waits until so many evaluations are at work."""
    state = waiting_search(folder, evaluations=16, seconds=0.3, together=together)
    run_experiment([state], needs, None, write_result, ray_stays=True, trial=Waiting)
    rows = list(state.ledger)
    assert [row.status for row in rows] == ["ok"] * 16
    return rows


def place(row: Evaluation) -> tuple[str, str]:
    """The device of a row, of all machines."""
    assert re.fullmatch(r"cpu \(gpu \d\)", row.device)
    return row.node, row.device


def devices_of_machines(places: Any) -> list[int]:
    """How many devices of each machine were used."""
    return sorted(Counter(node for node, _ in places).values(), reverse=True)


def test_one_evaluation_a_gpu(cluster: Cluster, tmp_path: Path) -> None:
    rows = run(tmp_path, TrialResources(1, 1.0), together=7)
    assert most_at_once(rows, lambda row: "all") == {"all": 7}
    at_once = most_at_once(rows, place)
    assert devices_of_machines(at_once) == list(GPUS)
    assert set(at_once.values()) == {1}


@pytest.mark.nightly
def test_two_evaluations_a_gpu(cluster: Cluster, tmp_path: Path) -> None:
    rows = run(tmp_path, TrialResources(1, 0.5), together=14)
    assert most_at_once(rows, lambda row: "all") == {"all": 14}
    at_once = most_at_once(rows, place)
    assert devices_of_machines(at_once) == list(GPUS)
    assert set(at_once.values()) == {2}


class Noting(EvaluationTrial):
    """A real evaluation that leaves a note of what its process was given."""

    def step(self) -> dict[str, Any]:
        import torch

        result = super().step()
        if "row" in result:
            note = {
                "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
                "ray": [str(gpu) for gpu in ray.get_gpu_ids()],
                "node": ray.get_runtime_context().get_node_id(),
                "torch": torch.get_num_threads(),
                "openmp": os.environ.get("OMP_NUM_THREADS"),
            }
            notes = Path(self.config["task"]["run"]) / "notes"
            notes.mkdir(exist_ok=True)
            (notes / f"{self.config['evaluation']}.json").write_text(json.dumps(note))
        return result


@pytest.mark.nightly
@pytest.mark.parametrize("gpus", [1, 0])
def test_real_evaluations_keep_to_their_device_and_cpus(
    cluster: Cluster, tmp_path: Path, gpus: int
) -> None:
    sets = [
        *SMALL,
        f"storage={tmp_path}",
        "search.evaluations=3",
        "train.epochs=1",
        "resources.device=cpu",
        "resources.cpus_per_trial=2",
        f"resources.gpus_per_trial={gpus}",
    ]
    config = SearchConfig.load(None, sets)
    with ExitStack() as stack:
        preparation = Preparation(
            config.storage,
            False,
            stack,
            prepare_table=prepare_table,
            early_stopping=lambda method, config: None,
        )
        state = preparation.state(config)
        state.task["node"] = ray.get_runtime_context().get_node_id()
        needs = trial_resources(config.resources)
        needs.check()
        run_experiment([state], needs, 2, write_result, ray_stays=True, trial=Noting)
    rows = list(state.ledger)
    assert [row.status for row in rows] == ["ok"] * 3
    has = {node["NodeID"]: node["Resources"].get("GPU", 0) for node in ray.nodes()}
    for row in rows:
        note = json.loads(
            (state.run.storage.local / "notes" / f"{row.evaluation}.json").read_text()
        )
        assert row.node.endswith(f":{note['node'][:8]}")
        if gpus:
            (held,) = note["ray"]
            assert note["visible"] == held
            assert int(held) < has[note["node"]]
            assert row.device == f"cpu (gpu {held})"
        else:
            assert note["ray"] == []
            assert row.device == "cpu"
        assert note["torch"] == min(2, os.cpu_count() or 2)
        assert note["openmp"] == "2"


@pytest.mark.parametrize(
    ("needs", "error"),
    [
        (
            TrialResources(11, 0),
            "resources.cpus_per_trial: is 11, but no machine of the cluster has more than 10",
        ),
        (
            TrialResources(1, 7),  # so many GPUs are there, on three machines
            "resources.gpus_per_trial: is 7, but no machine of the cluster has more than 4",
        ),
        (
            TrialResources(10, 2),  # one machine has the CPUs, another the GPUs
            "resources: an evaluation needs 10 CPUs and 2 GPUs of one machine, and no machine of "
            "the cluster has them",
        ),
    ],
)
def test_what_no_machine_can_hold_is_refused(
    cluster: Cluster, needs: TrialResources, error: str
) -> None:
    with pytest.raises(UserError) as raised:
        needs.check()
    assert str(raised.value) == error


def test_a_cluster_that_somebody_started_does_not_grow(cluster: Cluster) -> None:
    resources = SearchConfig.load(None, ["resources.cpus_per_trial=2"]).resources
    assert trial_resources(resources) == TrialResources(2, 1.0, grows=False)
