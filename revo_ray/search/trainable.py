"""One evaluation as a Ray Tune trial, in a worker that lives from trial to trial."""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from revo_ray.config import DataConfig, ModelConfig, TrainConfig
from revo_ray.data.nodes import SharedTable, fetch
from revo_ray.evolve.plan import Plan
from revo_ray.search.best import candidate_path
from revo_ray.storage import Storage

if TYPE_CHECKING:
    from revo_ray.finetune.loop import Epoch, FineTuner

MAX_TUNERS = 2
"""Networks with their data that one worker keeps: a study's searches share workers."""

_tuners: OrderedDict[str, FineTuner] = OrderedDict()
_served = 0


class EvaluationTrial(tune.Trainable):
    """Fine-tunes under one plan; `reset_config` hands it the next, of whatever search.

    Whatever goes wrong in training is a result with its cause, not a failed trial: when Tune sees
    a failure, a process or a machine died.
    """

    def step(self) -> dict[str, Any]:
        """The whole evaluation; what is loaded on the way stays for the next one."""
        return evaluate(self.config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next evaluation; always possible."""
        return True

    def cleanup(self) -> None:
        """Let go of the networks."""
        _tuners.clear()


def evaluate(config: dict[str, Any]) -> dict[str, Any]:
    """Run one request of `SearchState`, and report all that was measured.

    Args:
        config: `task`, `evaluation`, `plan`, and `best`, the score to beat.
    """
    global _served
    cold, _served = _served == 0, _served + 1
    task, started_at = config["task"], time.time()
    row: dict[str, Any] = {"started_at": started_at, "node": _node(), "device": "cpu"}
    curve: list[dict[str, Any]] = []
    weights, storage_error = False, None
    try:
        plan = Plan.from_json(config["plan"])
        tuner = tuner_for(task)
        row["device"] = device_name(tuner)
        last: Epoch | None = None
        for last in tuner.run(plan):
            curve.append(_point(last))
        assert last is not None
        row |= {
            "status": "diverged" if last.diverged else "ok",
            "val_loss": None if last.diverged else last.val_loss,
            "val_accuracy": None if last.diverged else last.val_accuracy,
            "val_auc": None if last.diverged else _finite(last.val_auc),
            "epochs": last.epoch,
            "images": last.images,
            "seconds": last.seconds,
        }
        if not last.diverged and beats(last.val_loss, config["evaluation"], config["best"]):
            try:
                write_weights(tuner, Storage(task["run"]), config["evaluation"])
                weights = True
            except OSError as error:
                storage_error = str(error)
    except Exception as error:
        row |= {"status": "error", "error": describe(error), **_spent(curve)}
        _tuners.clear()  # whatever state the failure left is not used again
    row |= {"curve": curve, "finished_at": time.time()}
    return {
        "row": row,
        "weights": weights,
        "storage_error": storage_error,
        "cold": cold,
        "done": True,
    }


def tuner_for(task: dict[str, Any]) -> FineTuner:
    """This worker's network and data for a task, loaded on first use."""
    from revo_ray.finetune.assemble import load_tuner, pick_device, use_threads

    use_threads(task["cpus"])
    key = json.dumps(task | {"run": ""}, sort_keys=True)  # searches share networks
    if key not in _tuners:
        while len(_tuners) >= MAX_TUNERS:
            _tuners.popitem(last=False)
        _tuners[key] = load_tuner(
            ModelConfig.model_validate(task["model"]),
            DataConfig.model_validate(task["data"]),
            TrainConfig.model_validate(task["train"]),
            table_path(task),
            pick_device(task["device"], bool(ray.get_gpu_ids())),
        )
    _tuners.move_to_end(key)
    return _tuners[key]


def table_path(task: dict[str, Any]) -> Path:
    """The images on this machine: the driver's own file, or this machine's copy of it.

    Raises:
        UserError: the table cannot be had.
    """
    shared = SharedTable(**task["table"])
    if ray.get_runtime_context().get_node_id() == task["node"]:
        return Path(shared.path)
    return fetch(shared)


def write_weights(tuner: FineTuner, storage: Storage, evaluation: int) -> None:
    """Write the tuner's weights as a candidate for the best model, named in its header.

    Raises:
        OSError: the storage is full or unreachable.
    """
    from safetensors.torch import save

    content = save(tuner.state_dict(), {"evaluation": str(evaluation), "format": "pt"})
    storage.write(candidate_path(evaluation), content)


def beats(loss: float | None, evaluation: int, best: list[float] | None) -> bool:
    """Whether an evaluation is better than the best known when it began."""
    return loss is not None and (best is None or (loss, evaluation) < (best[0], best[1]))


def describe(error: BaseException) -> str:
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def device_name(tuner: FineTuner) -> str:
    """The device of an evaluation, with the physical GPU that it was pinned to."""
    if tuner.device.type != "cuda":
        pinned = ",".join(str(gpu) for gpu in ray.get_gpu_ids())
        return f"cpu (gpu {pinned})" if pinned else "cpu"
    return f"cuda:{os.environ.get('CUDA_VISIBLE_DEVICES', '0')}"


def _node() -> str:
    return f"{socket.gethostname()}:{ray.get_runtime_context().get_node_id()[:8]}"


def _point(epoch: Epoch) -> dict[str, Any]:
    return {
        "epoch": epoch.epoch,
        "train_loss": _finite(epoch.train_loss),
        "val_loss": _finite(epoch.val_loss),
        "val_accuracy": _finite(epoch.val_accuracy),
        "val_auc": _finite(epoch.val_auc),
        "images": epoch.images,
        "seconds": epoch.seconds,
    }


def _finite(value: float | None) -> float | None:
    """JSON has no NaN."""
    return value if value is not None and math.isfinite(value) else None


def _spent(curve: list[dict[str, Any]]) -> dict[str, Any]:
    """What a failed evaluation had cost by its last whole epoch."""
    if not curve:
        return {}
    last = curve[-1]
    return {"epochs": last["epoch"], "images": last["images"], "seconds": last["seconds"]}
