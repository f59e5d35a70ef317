"""One evaluation as a Ray Tune trial, in a worker that lives from trial to trial."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from revo_ray.data.shared_files import SharedFile, fetch, original
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.exhausted import exhausted_memory
from revo_ray.objective import METRICS
from revo_ray.search.core.evaluation_files import store
from revo_ray.search.core.worker_plugins import policy_here
from revo_ray.settings.schema import DataConfig, ModelConfig, TrainConfig

if TYPE_CHECKING:
    from revo_ray.finetune.training.loop import Epoch
    from revo_ray.finetune.training.tuner import FineTuner

MAX_TUNERS = 2
"""Networks with their data that one worker keeps; the searches of a study share workers."""

_tuners: OrderedDict[str, FineTuner] = OrderedDict()
_served = 0


class EvaluationTrial(tune.Trainable):
    """Fine-tunes under one plan. `reset_config` hands it the next plan, of any search.

    An exception in training is a result with its cause, not a failed trial: if Tune sees a failure,
    a process or a machine died.
    """

    _results: Iterator[dict[str, Any]] | None = None

    def step(self) -> dict[str, Any]:
        """Run the whole evaluation, or its next epoch if it may be stopped early; or other work."""
        if "make" in self.config:
            return self._make()
        if self._results is None:
            self._results = evaluate(self.config)
        result = next(self._results)
        if result["row"]["status"] == "error":
            self._results = None  # its frames hold the network
            free_memory()  # whatever state the failure left is not used again
        return result

    def _make(self) -> dict[str, Any]:
        """Do what a search asks for at its end; an exception is an answer with its cause."""
        from revo_ray.search.core.final_work import make  # imports torch

        try:
            answer = make(self.config, tuner_for(self.config["task"]))
        except Exception as error:
            answer = {"error": describe(error)}
        if "error" in answer:
            free_memory()
        return {"error": None, **answer, "made": True, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next evaluation; this is always possible."""
        self._results = None
        return True

    def cleanup(self) -> None:
        """Free the networks."""
        _tuners.clear()


def evaluate(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run one request of `SearchState`.

    Args:
        config: `task`, `evaluation`, `plan`, `epochs`, `objective`, `predictions`, their precision,
            `limit`, the rank below which weights are written, `stepwise`: whether each epoch
            is reported, or the last alone, and `alone`: the memory that it shares with nothing.

    Yields:
        The row so far; whether the trial is `done` and the evaluation is `whole` (not cut short),
        and the memory that was `exhausted`.
    """
    global _served
    cold, _served = _served == 0, _served + 1
    task, column = config["task"], METRICS[config["objective"]].column
    row: dict[str, Any] = {"started_at": time.time(), "node": _node(), "device": "cpu"}
    curve: list[dict[str, Any]] = []

    def result(more: dict[str, Any], *, ended: bool = True, whole: bool = True) -> dict[str, Any]:
        now = {"curve": list(curve), "finished_at": time.time()}
        judged = {key: curve[-1][key] for key in ("epoch", column)} if curve else {}
        return {"row": row | more | now, "cold": cold, "done": ended, "whole": whole} | judged

    try:
        if config["alone"] is not None:
            free_memory()  # of other searches' networks
        plan = Plan.from_json(config["plan"])
        tuner = tuner_for(task)
        row["device"] = device_name(tuner)
        validate: Any = "every" if config["stepwise"] else None
        for epoch in tuner.run(plan, policy_here(plan, task), validate=validate):
            curve.append(_point(epoch))
            whole = epoch.diverged or epoch.epoch == task["train"]["epochs"]
            ended = whole or epoch.epoch == config["epochs"]
            stored, written = store(tuner, config, epoch) if whole else ({}, {})
            if ended or config["stepwise"]:
                scores = epoch.validation.finite.columns | stored
                measured = {"status": "diverged" if epoch.diverged else "ok", **_spent(curve)}
                yield result(measured | scores, ended=ended, whole=whole) | written
            if ended:
                return
    except Exception as error:
        failed = result({"status": "error", "error": describe(error), **_spent(curve)})
        yield failed | {"exhausted": exhausted_memory(error)}


def tuner_for(task: dict[str, Any]) -> FineTuner:
    """This worker's network and data for a task, loaded on first use."""
    from revo_ray.finetune.training.assemble import load_tuner, pick_device, use_threads

    use_threads(task["cpus"])
    key = json.dumps(task | {"run": ""}, sort_keys=True)  # searches share networks
    if key not in _tuners:
        while len(_tuners) >= MAX_TUNERS:
            _tuners.popitem(last=False)
        weights = task["weights"]
        _tuners[key] = load_tuner(
            ModelConfig.model_validate(task["model"]),
            DataConfig.model_validate(task["data"]),
            TrainConfig.model_validate(task["train"]),
            path_here(task["table"], task),
            pick_device(task["device"], bool(ray.get_gpu_ids())),
            None if weights is None else path_here(weights, task),
        )
    _tuners.move_to_end(key)
    return _tuners[key]


def path_here(file: dict[str, Any], task: dict[str, Any]) -> Path:
    """A `SharedFile` on this machine: the driver's own file, or this machine's copy of it.

    Raises:
        UserError: the file cannot be had.
    """
    shared = SharedFile(**file)
    is_driver = ray.get_runtime_context().get_node_id() == task["node"]
    return original(shared) if is_driver else fetch(shared)


def free_memory() -> None:
    """Forget the networks, and give what they held of the device back to other processes."""
    import torch

    _tuners.clear()
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where no GPU was used


def describe(error: BaseException) -> str:
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def device_name(tuner: FineTuner) -> str:
    """The device of an evaluation, the physical GPU that it was pinned to, and its precision."""
    if tuner.device.type != "cuda":
        pinned = ",".join(str(gpu) for gpu in ray.get_gpu_ids())
        return f"cpu (gpu {pinned})" if pinned else "cpu"
    return f"cuda:{os.environ.get('CUDA_VISIBLE_DEVICES', '0')} {tuner.train.precision}"


def _node() -> str:
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()
    return f"node-{host[:4]}:{ray.get_runtime_context().get_node_id()[:8]}"


def _point(epoch: Epoch) -> dict[str, Any]:
    """The epoch's point of the curve."""
    costs = {name: getattr(epoch, name) for name in ("epoch", "train_loss", "images", "seconds")}
    return costs | epoch.validation.finite.columns


def _spent(curve: list[dict[str, Any]]) -> dict[str, Any]:
    """Cost of an evaluation by its last whole epoch."""
    names = {"epochs": "epoch", "images": "images", "seconds": "seconds"}
    return {column: curve[-1][name] for column, name in names.items()} if curve else {}
