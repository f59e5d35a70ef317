"""Under a real `tune.Tuner`: Ray's own `HyperOptSearch`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.search.hyperopt import HyperOptSearch

from baselines.gradient import Full
from revo_ray.evolve.proposals import Outcome
from revo_ray.settings.schema import SearchOptions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class Loss(tune.Trainable):
    """Known beforehand, at once."""

    def step(self) -> dict[str, Any]:
        return {"val_loss": loss(self.config), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True


def loss(sample: dict[str, float]) -> float:
    return (math.log10(sample["lr"]) + 2) ** 2 + (math.log10(sample["wd"]) + 4) ** 2


def fit(folder: Path, trainable: Any, space: dict[str, Any], **options: Any) -> list[Any]:
    results = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(reuse_actors=True, **options),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    assert not results.errors
    return list(results)


@pytest.mark.nightly
def test_a_serial_tuner_with_hyperopt_proposes_the_same(tmp_path: Path) -> None:
    results = fit(
        tmp_path,
        Loss,
        {"lr": tune.loguniform(1e-6, 1.0), "wd": tune.loguniform(1e-6, 1e-1)},
        metric="val_loss",
        mode="min",
        num_samples=16,
        search_alg=HyperOptSearch(n_initial_points=5, random_state_seed=9),
        max_concurrent_trials=1,
    )
    method = Full(Full.Options(startup=5))
    proposals = method.searcher(method.space([]), SearchOptions(seed=9, evaluations=16))
    ours = []
    while (proposal := proposals.ask()) is not None:
        ours.append(proposal.sample)
        proposals.tell(proposal.evaluation, Outcome(loss(proposal.sample)))
    assert [result.config for result in results] == ours
