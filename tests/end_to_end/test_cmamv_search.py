"""`CMAMVSearch` in an ordinary `tune.Tuner`, on a real Ray."""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from revo_ray import CMAMVSearch
from revo_ray.tune import Reconciler

ROOT = Path(__file__).parents[2]

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
        if self.config["net"]["norm"] == "group" and self.config["net"]["depth"] < 3:
            raise RuntimeError("no such network")
        return {"loss": math.nan if self.config["drop"][0] == 0 else loss, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True


class Slow(Objective):
    """Leaves a mark for each trial that ended, in the folder that the environment names."""

    def step(self) -> dict[str, Any]:
        time.sleep(0.2)
        try:
            return super().step()
        finally:
            if "MARKS" in os.environ:
                (Path(os.environ["MARKS"]) / self.trial_id).touch()


class Late(CMAMVSearch):
    """Saves what it knew a few saves ago, as Tune may have it when the driver is killed."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        path = Path(checkpoint_dir, self.CKPT_FILE_TMPL.format(session_str))
        self.save(str(path))
        self._saves = [*getattr(self, "_saves", []), path.read_text()][-5:]
        path.write_text(self._saves[0])


def tuner(
    folder: Path | str,
    concurrent: int,
    objective: Any,
    space: dict[str, Any] = SPACE,
    samples: int = 30,
    searcher: type[CMAMVSearch] = CMAMVSearch,
    **options: Any,
) -> tune.Tuner:
    search = searcher(seed=4, **options)
    return tune.Tuner(
        tune.with_resources(objective, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=samples,
            search_alg=search,
            max_concurrent_trials=concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            verbose=0,
            callbacks=[Reconciler(search)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


def run(folder: Path, concurrent: int, samples: int = 30, **options: Any) -> list[dict[str, Any]]:
    results = tuner(folder, concurrent, Objective, samples=samples, **options).fit()
    assert len(results) == samples
    return [result.config or {} for result in results]


@pytest.mark.nightly
def test_trials_at_once_change_no_configuration(tmp_path: Path) -> None:
    serial = run(tmp_path / "one", 1)
    parallel = run(tmp_path / "four", 4)
    assert parallel == serial


@pytest.mark.nightly
def test_lookahead_under_tune_too(tmp_path: Path) -> None:
    serial = run(tmp_path / "one", 1, lookahead=3)
    parallel = run(tmp_path / "four", 4, lookahead=3)
    assert parallel == serial


@pytest.mark.nightly
@pytest.mark.parametrize(("searcher", "sure"), [(CMAMVSearch, 28), (Late, 24)])
def test_a_killed_experiment_restored_by_tune_ends_with_the_same_configurations(
    tmp_path: Path, searcher: type[CMAMVSearch], sure: int
) -> None:
    """`Tuner.restore`, without the search space, after a driver that was killed.

    Tune's file and the searcher's are of two moments; what lies between may be tried twice, or
    be missing at the end.
    """
    code = f"""
from tests.end_to_end.test_cmamv_search import *
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
tuner({str(tmp_path)!r}, 2, Slow, searcher={searcher.__name__}).fit()
"""
    marks = tmp_path / "marks"
    marks.mkdir()
    environment = os.environ | {"TUNE_GLOBAL_CHECKPOINT_S": "0", "MARKS": str(marks)}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 100
        while len(list(marks.iterdir())) < 13:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    (folder,) = (path.parent for path in tmp_path.rglob("tuner.pkl"))
    results = tune.Tuner.restore(str(folder), tune.with_resources(Slow, {"cpu": 1})).fit()
    restored = [repr(result.config) for result in results]
    assert 28 <= len(restored) <= 32
    undisturbed = [repr(config) for config in run(tmp_path / "whole", 2, samples=32)]
    assert set(restored) <= set(undisturbed)
    assert set(undisturbed[:sure]) <= set(restored)


class Layer:
    """What JSON cannot hold."""


@pytest.mark.nightly
def test_a_search_space_with_objects_has_to_be_given_again(tmp_path: Path) -> None:
    """Tune would begin anew, and hand its placeholders to the trials."""
    space = SPACE | {"layer": tune.choice([Layer, None])}
    first = tuner(tmp_path, 4, Objective, space=space, samples=12)
    before = [repr(result.config) for result in first.fit()]
    (folder,) = (path.parent for path in tmp_path.rglob("tuner.pkl"))
    with pytest.raises(Exception, match=r"give it again: Tuner\.restore"):
        tune.Tuner.restore(str(folder), tune.with_resources(Objective, {"cpu": 1})).fit()
    again = tune.Tuner.restore(
        str(folder), tune.with_resources(Objective, {"cpu": 1}), param_space=space
    )
    assert sorted(repr(result.config) for result in again.fit()) == sorted(before)
    assert any(repr(Layer) in config for config in before)
