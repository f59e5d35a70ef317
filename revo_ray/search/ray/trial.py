"""One evaluation as a Ray Tune trial, in a worker that lives from trial to trial."""

from __future__ import annotations

import json
import math
import os
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from revo_ray.data.shared_files import SharedFile, fetch
from revo_ray.finetune.plan import Plan
from revo_ray.methods import find_policy
from revo_ray.rundir.best_model import MODEL, candidate_path
from revo_ray.settings.schema import DataConfig, ModelConfig, TrainConfig
from revo_ray.storage import Storage

if TYPE_CHECKING:
    import torch

    from revo_ray.finetune.fused import FusedTuner
    from revo_ray.finetune.training.epoch import Epoch
    from revo_ray.finetune.training.tuner import FineTuner

MAX_TUNERS = 2
"""Networks with their data that one worker keeps: a study's searches share workers."""

_tuners: OrderedDict[str, FineTuner] = OrderedDict()
_served = 0


class EvaluationTrial(tune.Trainable):
    """Fine-tunes under one plan; `reset_config` hands it the next, of whatever search.

    Whatever goes wrong in training is a result with its cause, not a failed trial: when Tune sees
    a failure, a process or a machine died.
    """

    _results: Iterator[dict[str, Any]] | None = None

    def step(self) -> dict[str, Any]:
        """The whole evaluation, or its next epoch where somebody may stop it; or the test."""
        if "test" in self.config:
            return test_best(self.config)
        if "together" in self.config:
            return evaluate_together(self.config)
        if self._results is None:
            self._results = evaluate(self.config)
        return next(self._results)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next evaluation; always possible."""
        self._results = None
        return True

    def cleanup(self) -> None:
        """Let go of the networks."""
        _tuners.clear()


def evaluate(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run one request of `SearchState`, and report all that was measured.

    Args:
        config: `task`, `evaluation`, `plan`, `epochs`, `best`, the score to beat, and `stepwise`:
            whether each epoch is reported, or the last alone.

    Yields:
        the row so far, whether it is `done` and the evaluation `whole`: not cut short, and
        whether memory was `exhausted`.
    """
    global _served
    cold, _served = _served == 0, _served + 1
    task = config["task"]
    row: dict[str, Any] = {"started_at": time.time(), "node": _node(), "device": "cpu"}
    curve: list[dict[str, Any]] = []

    def result(more: dict[str, Any], *, ended: bool = True, whole: bool = True) -> dict[str, Any]:
        now = {"curve": list(curve), "finished_at": time.time()}
        return {"row": row | more | now, "cold": cold, "done": ended, "whole": whole} | _score(
            curve
        )

    try:
        plan = Plan.from_json(config["plan"])
        tuner = tuner_for(task)
        row["device"] = device_name(tuner)
        policy = find_policy(plan, task["plugins"])
        validate: Any = "every" if config["stepwise"] else None
        for epoch in tuner.run(plan, policy, validate=validate):
            curve.append(_point(epoch))
            whole = epoch.diverged or epoch.epoch == task["train"]["epochs"]
            ended = whole or epoch.epoch == config["epochs"]
            written = _keep_weights(tuner, config, epoch) if whole else {}
            if ended or config["stepwise"]:
                yield result(_measured(epoch), ended=ended, whole=whole) | written
            if ended:
                return
    except Exception as error:
        _tuners.clear()  # whatever state the failure left is not used again
        failed = result({"status": "error", "error": describe(error), **_spent(curve)})
        yield failed | {"exhausted": describe(error) if is_exhaustion(error) else None}


def evaluate_together(config: dict[str, Any]) -> dict[str, Any]:
    """Run a request of `SearchState` for several evaluations, as one stacked model.

    Args:
        config: `task`, `together`, of each its `evaluation`, `plan` and whether it is `wanted`,
            and `best`, the score to beat. Those that are not wanted have rows: they train too,
            since the others' rounding depends on who trains with them.

    Returns:
        `rows`: for each that is wanted, its number and what `evaluate` reports of it.
    """
    global _served
    cold, _served = _served == 0, _served + 1
    members, best = config["together"], config["best"]
    common: dict[str, Any] = {"started_at": time.time(), "node": _node(), "device": "cpu"}
    curves: list[list[dict[str, Any]]] = [[] for _ in members]
    rows: list[dict[str, Any]] = [{} for _ in members]
    written: list[dict[str, Any]] = [{} for _ in members]
    exhausted = None
    try:
        tuner = tuner_for(config["task"])
        common["device"] = device_name(tuner)
        fused = fused_tuner(tuner)
        last: list[Epoch] = []
        for last in fused.run([Plan.from_json(member["plan"]) for member in members]):
            for curve, epoch in zip(curves, last, strict=True):
                if epoch.epoch > len(curve):  # one that diverged stays where it was
                    curve.append(_point(epoch))
        for place, (member, epoch) in enumerate(zip(members, last, strict=True)):
            number, loss = member["evaluation"], _measured(epoch)["val_loss"]
            rows[place] = _measured(epoch)
            if not beats(loss, number, best):
                continue
            if member["wanted"]:
                written[place] = _write(fused.state_dict(place), config, number)
            best = [loss, number]
    except Exception as error:
        _tuners.clear()  # whatever state the failure left is not used again
        failure = describe(error)
        exhausted = failure if is_exhaustion(error) else None
        rows = [{"status": "error", "error": failure, **_spent(curve)} for curve in curves]
        written = [{} for _ in members]
    common["finished_at"] = time.time()
    results = [
        {"evaluation": member["evaluation"], "row": common | row | {"curve": curve}} | kept
        for member, row, curve, kept in zip(members, rows, curves, written, strict=True)
        if member["wanted"]
    ]
    for first, result in enumerate(results):
        result |= {"cold": cold and first == 0, "whole": True}
    return {"rows": results, "done": True, "exhausted": exhausted}


def fused_tuner(tuner: FineTuner) -> FusedTuner:
    """What trains several plans of a tuner together."""
    from revo_ray.finetune.fused import FusedTuner

    return FusedTuner(tuner)


def test_best(config: dict[str, Any]) -> dict[str, Any]:
    """Score `best/` on the test images, trained again first where the file was lost.

    Args:
        config: `task`, `test`, the evaluation, `retrain`, its plan or None, and `together`, where
            it was trained with others.
    """
    from safetensors.torch import load

    storage = Storage(config["task"]["run"])
    try:
        tuner = tuner_for(config["task"])
        if config["retrain"] is not None:
            weights = train_again(tuner, config)
            storage.write(MODEL, weight_file(weights, config["test"]))
        tuner.load_state_dict(load(storage.read(MODEL)))
        metrics = tuner.evaluate("test")
    except Exception as error:
        _tuners.clear()
        return {"test": None, "error": describe(error), "done": True}
    test = {"loss": metrics.loss, "accuracy": metrics.accuracy, "auc": metrics.auc}
    return {"test": test, "done": True}


def train_again(tuner: FineTuner, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights of the best evaluation, as they were, so with those that it trained with."""
    members = config.get("together")
    if members is None:
        plan = Plan.from_json(config["retrain"])
        for _ in tuner.run(plan, find_policy(plan, config["task"]["plugins"])):
            pass
        return tuner.state_dict()
    fused = fused_tuner(tuner)
    for _ in fused.run([Plan.from_json(member["plan"]) for member in members]):
        pass
    return fused.state_dict([member["evaluation"] for member in members].index(config["test"]))


def tuner_for(task: dict[str, Any]) -> FineTuner:
    """This worker's network and data for a task, loaded on first use."""
    from revo_ray.finetune.training.assemble import load_tuner, pick_device, use_threads

    use_threads(task["cpus"])
    key = json.dumps(task | {"run": ""}, sort_keys=True)  # searches share networks
    if key not in _tuners:
        while len(_tuners) >= MAX_TUNERS:
            _tuners.popitem(last=False)
        model = ModelConfig.model_validate(task["model"])
        if task["weights"] is not None:
            model = model.model_copy(update={"weights": str(path_here(task["weights"], task))})
        _tuners[key] = load_tuner(
            model,
            DataConfig.model_validate(task["data"]),
            TrainConfig.model_validate(task["train"]),
            path_here(task["table"], task),
            pick_device(task["device"], bool(ray.get_gpu_ids())),
        )
    _tuners.move_to_end(key)
    return _tuners[key]


def path_here(file: dict[str, Any], task: dict[str, Any]) -> Path:
    """A `SharedFile` on this machine: the driver's own file, or this machine's copy of it.

    Raises:
        UserError: the file cannot be had.
    """
    shared = SharedFile(**file)
    if ray.get_runtime_context().get_node_id() == task["node"]:
        return Path(shared.path)
    return fetch(shared)


def write_weights(weights: dict[str, torch.Tensor], storage: Storage, evaluation: int) -> None:
    """Write weights as a candidate for the best model, named in its header.

    Raises:
        OSError: the storage is full or unreachable.
    """
    storage.write(candidate_path(evaluation), weight_file(weights, evaluation))


def weight_file(weights: dict[str, torch.Tensor], evaluation: int) -> bytes:
    """A safetensors file that names its evaluation; equal weights are equal bytes.

    The library writes the metadata in another order each time.
    """
    from safetensors.torch import save

    content = save(weights, {"evaluation": str(evaluation), "format": "pt"})
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:8] + text.ljust(size) + content[8 + size :]


def _keep_weights(tuner: FineTuner, config: dict[str, Any], epoch: Epoch) -> dict[str, Any]:
    """Write the weights of an evaluation that may be the best; or why that failed."""
    if epoch.diverged or not beats(epoch.val_loss, config["evaluation"], config["best"]):
        return {}
    return _write(tuner.state_dict(), config, config["evaluation"])


def _write(
    weights: dict[str, torch.Tensor], config: dict[str, Any], evaluation: int
) -> dict[str, Any]:
    try:
        write_weights(weights, Storage(config["task"]["run"]), evaluation)
    except OSError as error:
        return {"storage_error": str(error)}
    return {"weights": True}


def beats(loss: float | None, evaluation: int, best: list[float] | None) -> bool:
    """Whether an evaluation is better than the best known when it began."""
    return loss is not None and (best is None or (loss, evaluation) < (best[0], best[1]))


def is_exhaustion(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or the device: it may suffice the next time."""
    import torch

    # torch has no class of its own for the machine's memory
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


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


def _measured(epoch: Epoch) -> dict[str, Any]:
    """What the last epoch says of the whole evaluation."""
    return {
        "status": "diverged" if epoch.diverged else "ok",
        "val_loss": None if epoch.diverged else _finite(epoch.val_loss),
        "val_accuracy": None if epoch.diverged else _finite(epoch.val_accuracy),
        "val_auc": None if epoch.diverged else _finite(epoch.val_auc),
        "epochs": epoch.epoch,
        "images": epoch.images,
        "seconds": epoch.seconds,
    }


def _score(curve: list[dict[str, Any]]) -> dict[str, Any]:
    """What a scheduler judges by."""
    return {key: curve[-1][key] for key in ("epoch", "val_loss")} if curve else {}


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
