"""`run_search`: a configuration in, a finished run directory out."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import ray
from rich.console import Console

from revo_ray.config import MethodConfig, ResourcesConfig, SearchConfig
from revo_ray.data.nodes import share, tables_folder
from revo_ray.data.table import Table
from revo_ray.errors import SearchError, UserError
from revo_ray.evolve.plan import Plan
from revo_ray.finetune.assemble import load_network, split_table
from revo_ray.ledger import Evaluation, Ledger
from revo_ray.methods import make_method
from revo_ray.report.preparation import prepare_and_show
from revo_ray.report.progress import Progress
from revo_ray.report.tensorboard import EvaluationCurves
from revo_ray.search.best import MODEL
from revo_ray.search.experiment import Footprint, run_experiment
from revo_ray.search.lock import RunLock
from revo_ray.search.record import check_record, write_record
from revo_ray.search.state import SearchState
from revo_ray.search.stopping import listen, stopping_on_signals
from revo_ray.search.trainable import tuner_for
from revo_ray.storage import Storage

RESULT = "result.json"
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the driver of a submitted job."""


@dataclass(frozen=True)
class SearchResult:
    """What a search ends with; `result.json` holds the same.

    Attributes:
        name, directory: of the run.
        best: the best evaluation's number, plan, genome and validation metrics; None where no
            evaluation succeeded.
        test: loss, accuracy and AUC of the best model on the test set, measured once.
        evaluations: ledger rows; `statuses` counts them by status.
        epochs, images, device_seconds: what all evaluations cost together.
        wall_seconds: from this command's start to its end; a resumed run counts its last part.
        cold_starts: workers that had to load torch, network and data in this part.
    """

    name: str
    directory: str
    best: dict[str, Any] | None
    test: dict[str, float | None] | None
    evaluations: int
    statuses: dict[str, int]
    epochs: int
    images: int
    device_seconds: float
    wall_seconds: float
    cold_starts: int


def run_search(
    config: SearchConfig,
    *,
    address: str | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> SearchResult:
    """Run one search to the end of its budget and test its best model.

    Args:
        config: the search.
        address: None for an embedded Ray on this machine (or the job's own cluster inside a Ray
            job), `auto` or a URL to join a cluster.
        resume: go on where the run directory stands; also right where there is nothing yet.
        console: where progress is shown; None shows none.

    Raises:
        UserError: the configuration, the data or the run directory is wrong.
        SearchError, OSError: it stopped, resumable; OSError: the storage is full or unreachable.
        Interrupted: asked to stop, resumable.

    Example:
        >>> from revo_ray import SearchConfig, run_search          # doctest: +SKIP
        >>> result = run_search(SearchConfig.load("config.yaml"))  # doctest: +SKIP
    """
    started = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(stopping_on_signals())
        storage = _open_run_directory(config, resume, stack)
        state = _prepare(config, storage, console, stack)
        if finished := _finished(state):
            return finished
        ray_stays = stack.enter_context(_ray(address))
        state.task["node"] = ray.get_runtime_context().get_node_id()
        footprint = _footprint(config.resources)
        footprint.check()
        if not state.done:
            limit = config.resources.max_concurrent
            run_experiment([state], footprint, limit, ray_stays=ray_stays)
        test = _test_best(state, footprint) if state.best else None
        return _write_result(state, test, time.monotonic() - started)


def _open_run_directory(config: SearchConfig, resume: bool, stack: ExitStack) -> Storage:
    """Lock the run directory, and refuse one that is not ours to write."""
    if os.environ.get(JOB):
        for key, path in (("storage", config.storage), ("data.root", config.data.root)):
            if path and "://" not in path and not os.path.isabs(path):
                raise UserError(
                    f"{path!r} is relative, and a Ray job's folder changes with every upload; "
                    "use an absolute path or a URI",
                    key=key,
                )
    storage = Storage(config.storage).child(config.name)
    stack.callback(RunLock(storage).close)
    if not resume and storage.list(Ledger.FOLDER):
        raise UserError(
            f"{storage.uri} already holds a search; go on with --resume (resume=True), or "
            f"choose another name with --set name={config.name}-2"
        )
    return storage


def _finished(state: SearchState) -> SearchResult | None:
    """The result of a run directory in which nothing is left to do."""
    if not (state.done and state.best_is_stored):
        return None
    try:
        return SearchResult(**json.loads(state.storage.read(RESULT)))
    except (OSError, ValueError, TypeError):
        return None


def _prepare(
    config: SearchConfig, storage: Storage, console: Console | None, stack: ExitStack
) -> SearchState:
    """Everything that can be wrong is found here, before any trial."""
    method = make_method(config.method, config.plugins)
    resolved = MethodConfig(name=method.name, **method.options.model_dump(mode="json"))
    config = config.model_copy(update={"method": resolved})
    table = prepare_and_show(config.data, tables_folder(config.storage), console)
    splits = split_table(table, config.data)
    backbone, units = load_network(config.model, config.data, config.train, table)
    checksums = {"weights": backbone.weights_sha256, "table": table.sha256}
    if storage.list(Ledger.FOLDER):
        check_record(storage, config, checksums)
    else:
        write_record(storage, config, checksums)
    progress = Progress(config.search.evaluations, console)
    stack.callback(progress.close)
    curves = EvaluationCurves(storage)
    state = SearchState(
        config,
        storage,
        method,
        list(units),
        _task(config, storage, table),
        _card(config, table, backbone.mean, backbone.std, [unit.name for unit in units]),
        listeners=(progress, curves),
    )
    curves.catch_up(state.ledger)
    skipped = f" ({len(table.skipped)} skipped)" if table.skipped else ""
    progress.begin(
        state.ledger,
        f"{config.method.name}: {config.model.name} on {config.data.source}, "
        f"{len(units)} units, {len(splits.train)}/{len(splits.validation)}/{len(splits.test)} "
        f"images to train/validate/test on{skipped}, {config.search.evaluations} evaluations",
    )
    return state


def _task(config: SearchConfig, storage: Storage, table: Table) -> dict[str, Any]:
    return {
        "model": config.model.model_dump(mode="json")
        | {"weights": _portable(config.model.weights)},
        "data": config.data.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json"),
        "table": asdict(share(table, Storage(config.storage))),
        "run": storage.uri,
        "cpus": config.resources.cpus_per_trial,
        "device": config.resources.device,
    }


def _portable(weights: str) -> str:
    """A worker's folder is not the driver's, so a path of weights travels absolute."""
    is_path = weights not in ("pretrained", "none") and not weights.startswith("package:")
    return os.path.abspath(os.path.expanduser(weights)) if is_path else weights


def _card(
    config: SearchConfig,
    table: Table,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    units: list[str],
) -> dict[str, Any]:
    return {
        "model": config.model.name,
        "classes": table.classes,
        "image_size": config.data.image_size,
        "mean": list(mean),
        "std": list(std),
        "granularity": config.model.granularity,
        "units": units,
    }


@contextmanager
def _ray(address: str | None) -> Iterator[bool]:
    """Ray, connected: embedded or the cluster that was named; yields whether it was before."""
    if address and address.startswith("ray://"):
        raise UserError(
            f"--address {address}: Ray Client cannot run Tune with the ledger here; use auto on a "
            "machine of the cluster, its GCS address host:port, or ray job submit"
        )
    if ray.is_initialized():
        if address is not None:
            raise UserError(
                f"--address {address}: this process is connected to Ray already; leave it out"
            )
        yield True
        return
    inside_job = bool(os.environ.get(JOB))
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None and not inside_job:
        address = "local"
        options |= {"include_dashboard": False}
    tune_logger = logging.getLogger("ray.tune")
    level = tune_logger.level
    tune_logger.setLevel(logging.CRITICAL)  # failures are rows, and errors are ours to tell
    try:
        try:
            ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"cannot join Ray at {address!r}: {reason}") from None
        listen()  # Ray sets a handler of its own on SIGTERM
        yield False
    finally:
        ray.shutdown()
        tune_logger.setLevel(level)


def _footprint(resources: ResourcesConfig) -> Footprint:
    gpus = resources.gpus_per_trial
    if gpus == "auto":
        gpus = 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0
    return Footprint(resources.cpus_per_trial, float(gpus))


def _test_best(state: SearchState, footprint: Footprint) -> dict[str, float | None]:
    """Test the best model once, on a machine like the one that trained it."""
    assert state.best is not None
    measure = ray.remote(_measure).options(num_cpus=footprint.cpus, num_gpus=footprint.gpus)
    retrain = None if state.best_is_stored else state.best.whole_plan
    answer = measure.remote(state.task, retrain, state.best.evaluation)
    try:
        test: dict[str, float | None] = ray.get(answer)
        state.describe_best()
    except ray.exceptions.RayError as error:
        raise SearchError(
            f"cannot test the best model: {str(error).strip().splitlines()[-1]}; "
            "every evaluation is kept, go on with --resume"
        ) from None
    return test


def _measure(
    task: dict[str, Any], retrain: dict[str, Any] | None, evaluation: int
) -> dict[str, float | None]:
    """In a worker: the test metrics of `best/`, trained again first where the file was lost."""
    import safetensors.torch

    storage = Storage(task["run"])
    tuner = tuner_for(task)
    if retrain is not None:
        for _ in tuner.run(Plan.from_json(retrain)):
            pass
        metadata = {"evaluation": str(evaluation), "format": "pt"}
        storage.write(MODEL, safetensors.torch.save(tuner.state_dict(), metadata))
    tuner.load_state_dict(safetensors.torch.load(storage.read(MODEL)))
    metrics = tuner.evaluate("test")
    return {"loss": metrics.loss, "accuracy": metrics.accuracy, "auc": metrics.auc}


def _write_result(
    state: SearchState, test: dict[str, float | None] | None, wall_seconds: float
) -> SearchResult:
    rows = list(state.ledger)
    statuses = [row.status for row in rows]
    result = SearchResult(
        name=state.config.name,
        directory=state.storage.uri,
        best=_summary(state.best) if state.best else None,
        test=test,
        evaluations=len(rows),
        statuses={status: statuses.count(status) for status in sorted(set(statuses))},
        epochs=sum(row.epochs for row in rows),
        images=sum(row.images for row in rows),
        device_seconds=round(sum(row.seconds for row in rows), 3),
        wall_seconds=round(wall_seconds, 3),
        cold_starts=state.cold_starts,
    )
    state.ledger.write_parquet()
    state.storage.write(RESULT, (json.dumps(asdict(result), indent=2) + "\n").encode())
    return result


def _summary(best: Evaluation) -> dict[str, Any]:
    return {
        "evaluation": best.evaluation,
        "generation": best.generation,
        "val_loss": best.val_loss,
        "val_accuracy": best.val_accuracy,
        "val_auc": best.val_auc,
        "genome": best.genome,
        "plan": best.whole_plan,
    }
