"""`CMAMVSearch` with all that Tune puts around a searcher, together, on a real Ray."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, HyperBandScheduler
from ray.tune.search import Repeater

from revo_ray import CMAMVSearch
from revo_ray.tune import Reconciler

ROOT = Path(__file__).parents[2]
SPACE: dict[str, Any] = {
    "a/b": tune.uniform(0, 1),
    "net": {"kind": tune.choice(["a", ("b", 1)]), "depth": tune.randint(1, 9)},
    "epochs": 9,
}
POINTS = [
    {"a/b": 0.5, "net": {"kind": "a", "depth": 8}, "epochs": 9},
    {"a/b": 0.25, "net/kind": ("b", 1), "net/depth": 1},
]
INDEX = "__trial_index__"


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class Curve(tune.Trainable):
    """Improves step by step to a loss of its configuration and repeat, and sometimes fails."""

    def setup(self, config: dict[str, Any]) -> None:
        self.steps = 0

    def step(self) -> dict[str, Any]:
        self.steps += 1
        if "PAUSE" in os.environ:
            time.sleep(float(os.environ["PAUSE"]))
        if self.config["net"]["depth"] == 7 and self.config.get(INDEX, 0) == 1:
            raise RuntimeError("no such network")
        loss = self.config["a/b"] ** 2 + abs(self.config["net"]["depth"] - 4)
        if self.steps == 9 and "MARKS" in os.environ:
            (Path(os.environ["MARKS"]) / self.trial_id).touch()
        return {
            "loss": loss + self.config.get(INDEX, 0) / 8 + 1 / self.steps,
            "done": self.steps == self.config["epochs"],
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "steps").write_text(str(self.steps))

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        self.steps = int((Path(checkpoint_dir) / "steps").read_text())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.steps = 0
        return True


def tuner(
    folder: Path | str, samples: int, scheduler: Any = None, repeats: int = 2, **options: Any
) -> tune.Tuner:
    search = CMAMVSearch(
        points_to_evaluate=POINTS, seed=4, population=4, lookahead=2, repeats=repeats
    )
    searcher: Any = options.pop("wrap", lambda inner: inner)(search)
    return tune.Tuner(
        tune.with_resources(Curve, {"cpu": 1}),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=samples,
            search_alg=searcher,
            scheduler=scheduler,
            max_concurrent_trials=2,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            verbose=0,
            callbacks=[Reconciler(search)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


class Pausing(FIFOScheduler):
    """Pauses each trial after three steps, and stops some while they are paused."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        return self.PAUSE if result["training_iteration"] == 3 else self.CONTINUE

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        for trial in tune_controller.get_trials():
            if trial.status == Trial.PAUSED and trial.config["net"]["depth"] in (4, 8):
                tune_controller.stop_trial(trial)
        return super().choose_trial_to_run(tune_controller)


def configs(results: Any) -> Counter[str]:
    return Counter(
        json.dumps({k: v for k, v in (result.config or {}).items() if k != INDEX})
        for result in results
    )


@pytest.mark.parametrize(
    "scheduler",
    [
        pytest.param(
            ASHAScheduler(max_t=9, grace_period=1, reduction_factor=2),
            marks=pytest.mark.nightly,
            id="asha",
        ),
        pytest.param(
            HyperBandScheduler(max_t=9, reduction_factor=3),
            marks=pytest.mark.nightly,
            id="hyperband",
        ),
        pytest.param(Pausing(), id="pausing"),
    ],
)
def test_with_a_scheduler_that_stops_or_pauses_trials(scheduler: Any, tmp_path: Path) -> None:
    """Each evaluation is run as often as it repeats, and no generation waits for ever."""
    results = tuner(tmp_path, 28, scheduler).fit()
    found = configs(results)
    assert set(found.values()) == {2}
    assert len(found) == 14
    assert [result.config for result in results][:4:2] == [
        {"a/b": 0.5, "net": {"kind": "a", "depth": 8}, "epochs": 9, INDEX: 0},
        {"a/b": 0.25, "net": {"kind": ("b", 1), "depth": 1}, "epochs": 9, INDEX: 0},
    ]
    steps = [result.metrics.get("training_iteration", 0) for result in results if result.metrics]
    assert max(steps) == 9
    if not isinstance(scheduler, HyperBandScheduler):  # it may have no two trials to compare
        assert min(steps) < 9


@pytest.mark.nightly
def test_rays_repeater_gives_the_search_of_repeats(tmp_path: Path) -> None:
    ours = tuner(tmp_path / "ours", 24).fit()
    rays = tuner(
        tmp_path / "rays", 24, repeats=1, wrap=lambda search: Repeater(search, repeat=2)
    ).fit()
    assert [result.config for result in rays] == [result.config for result in ours]


def stopped_between_copies(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Whether the driver, which is stopped now, is not copying its files: Tune does so in place."""
    os.killpg(process.pid, signal.SIGSTOP)
    files = [path for name in ("*state*.json", "*state*.pkl") for path in folder.rglob(name)]
    try:
        for path in files:
            if path.name.startswith("experiment"):
                json.loads(path.read_text())
        if len(files) >= 3 and all(path.stat().st_size for path in files):
            return True
    except ValueError:
        pass
    os.killpg(process.pid, signal.SIGCONT)
    return False


@pytest.mark.nightly
def test_a_killed_driver_goes_on_with_repeats_points_and_workers(tmp_path: Path) -> None:
    code = f"""
from tests.end_to_end.test_tune_together import *
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
tuner({str(tmp_path)!r}, 28).fit()
"""
    marks = tmp_path / "marks"
    marks.mkdir()
    names = {"TUNE_GLOBAL_CHECKPOINT_S": "0", "MARKS": str(marks), "PAUSE": "0.05"}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | names,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 100
        while len(list(marks.iterdir())) < 13 or not stopped_between_copies(process, tmp_path):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    (folder,) = (path.parent for path in tmp_path.rglob("tuner.pkl"))
    results = tune.Tuner.restore(str(folder), tune.with_resources(Curve, {"cpu": 1})).fit()
    whole = configs(tuner(tmp_path / "whole", 28).fit())
    restored = configs(results)
    assert len(results) >= 26
    assert set(restored) <= set(whole)
    assert len(restored) >= 13
    assert sum((restored - whole).values()) <= 2  # of the two that ran, a trial may be run again
