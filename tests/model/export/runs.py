"""A finished search in a second: the state that Ray drives, driven by hand with a real tuner."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file

from revo_ray.data.shared_files import tables_folder
from revo_ray.data.sources import read_source
from revo_ray.data.table.image_table import prepare_table, split_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_tuner
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.rundir.best_model import MODEL
from revo_ray.rundir.outcome import write_result
from revo_ray.search.core.prepare import Preparation
from revo_ray.search.core.state import Request, SearchState
from revo_ray.search.ray.trial import write_weights
from revo_ray.settings.schema import SearchConfig

MODELS = {"timm": "timm/test_efficientnet", "torchvision": "torchvision/resnet18"}

SMALL = (
    "model.weights=none",
    "data.image_size=32",
    "data.max_images=300",
    "data.train_fraction=0.2",
    "train.epochs=1",
)


def search(folder: Path, name: str, *overrides: str, stop_after: int = 99) -> Path:
    """Run a search below a folder, or its first evaluations; gives the run directory."""
    config = SearchConfig.load(None, [*SMALL, f"storage={folder}", f"name={name}", *overrides])
    with ExitStack() as stack:
        state = Preparation(config.storage, False, None, stack).state(config)
        path = state.task["table"]["path"]
        tuner = load_tuner(config.model, config.data, config.train, path)
        while not state.done and len(state.ledger) < stop_after:
            request = state.next_request()
            assert request is not None
            _work(request, state, tuner)
        if state.done:
            write_result(state)
    return folder / name


def searched_tuner(run: Path) -> FineTuner:
    """The search's own tuner with its best weights."""
    config = SearchConfig.load(run / "config.yaml")
    table = prepare_table(config.data, tables_folder(config.storage))
    tuner = load_tuner(config.model, config.data, config.train, table.path)
    tuner.load_state_dict(load_file(run / MODEL))
    return tuner


def write_test_images(run: Path, folder: Path) -> tuple[list[Path], list[str]]:
    """A search's test images as PNG files of their own size, and their labels."""
    config = SearchConfig.load(run / "config.yaml")
    table = prepare_table(config.data, tables_folder(config.storage))
    records = {record.name: record for record in read_source(config.data).records}
    folder.mkdir()
    paths, labels = [], []
    for number, row in enumerate(split_table(table, config.data).test):
        record = records[table.names[row]]
        paths.append(folder / f"{number:04d}.png")
        record.picture.open().save(paths[-1])
        labels.append(record.label)
    return paths, labels


def _work(request: Request, state: SearchState, tuner: FineTuner) -> None:
    if request.proposal is None:
        assert state.storage.local is not None
        tuner.load_state_dict(load_file(state.storage.local / MODEL))
        state.tested({"test": asdict(tuner.evaluate("test"))})
        return
    *_, last = tuner.run(Plan.from_json(request.config["plan"]))
    row = {
        "status": "diverged" if last.diverged else "ok",
        "val_loss": last.val_loss,
        "val_accuracy": last.val_accuracy,
        "val_auc": last.val_auc,
        "epochs": last.epoch,
        "images": last.images,
        "seconds": last.seconds,
    }
    score, best = (last.val_loss, request.proposal.evaluation), request.config["best"]
    if scored := last.val_loss is not None and (best is None or score < tuple(best)):
        write_weights(tuner, state.storage, request.proposal.evaluation)
    state.record(
        request.proposal, {"row": row, "weights": scored, "cold": False, "whole": True}, "by hand"
    )
    state.settle(request.proposal.evaluation)
