"""`CMAMVSearch` in an ordinary `tune.Tuner`, on a real Ray."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from revo_ray import CMAMVSearch

SPACE: dict[str, Any] = {
    "lr": tune.loguniform(1e-4, 1.0),
    "net": {"depth": tune.randint(1, 9), "norm": tune.choice(["batch", "layer", "group"])},
    "drop": [tune.quniform(0, 0.5, 0.1), "constant"],
}


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class Objective(tune.Trainable):
    """Fails and diverges now and then, as a function of its configuration."""

    def step(self) -> dict[str, Any]:
        loss = (math.log10(self.config["lr"]) + 2) ** 2 + (self.config["net"]["depth"] - 4) ** 2
        if self.config["net"]["norm"] == "group" and self.config["net"]["depth"] % 2:
            raise RuntimeError("no such network")
        return {"loss": math.nan if self.config["drop"][0] == 0 else loss, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True


def run(folder: Path, concurrent: int, **options: Any) -> list[dict[str, Any]]:
    results = tune.Tuner(
        tune.with_resources(Objective, {"cpu": 1}),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=30,
            search_alg=CMAMVSearch(seed=4, **options),
            max_concurrent_trials=concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    assert len(results) == 30
    return [result.config or {} for result in results]


def test_trials_at_once_change_no_configuration(tmp_path: Path) -> None:
    serial = run(tmp_path / "one", 1)
    parallel = run(tmp_path / "four", 4)
    assert sorted(map(repr, parallel)) == sorted(map(repr, serial))


def test_lookahead_under_tune_too(tmp_path: Path) -> None:
    serial = run(tmp_path / "one", 1, lookahead=3)
    parallel = run(tmp_path / "four", 4, lookahead=3)
    assert sorted(map(repr, parallel)) == sorted(map(repr, serial))
