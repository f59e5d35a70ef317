"""A finished search in a second: the state that Ray drives, driven by hand with a real tuner."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from revo_ray.data.shared_files import tables_folder
from revo_ray.data.sources import read_source
from revo_ray.data.table.image_table import prepare_table, split_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_tuner
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.evaluation_files import store
from revo_ray.search.core.final_work import make
from revo_ray.search.core.prepare import Preparation
from revo_ray.search.core.requests import Request
from revo_ray.search.core.state import SearchState
from revo_ray.search.core.summary import write_result
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
    """Run a small search below a folder, or its first evaluations; gives the run directory."""
    config = SearchConfig.load(None, [*SMALL, f"storage={folder}", f"name={name}", *overrides])
    run_by_hand(config, stop_after)
    return folder / name


def run_by_hand(config: SearchConfig, stop_after: int = 99) -> None:
    """Run a search, or its first evaluations."""
    with ExitStack() as stack:
        preparation = Preparation(
            config.storage,
            False,
            stack,
            prepare_table=prepare_table,
            early_stopping=lambda method, config: None,
        )
        state = preparation.state(config)
        path = state.task["table"]["path"]
        tuner = load_tuner(config.model, config.data, config.train, path)
        while not state.done and len(state.ledger) < stop_after:
            request = state.next_request()
            assert request is not None
            _work(request, state, tuner)
        if state.done:
            write_result(state)


def searched_tuner(run: Path) -> FineTuner:
    """The search's own tuner with its best weights."""
    config = SearchConfig.load(run / "config.yaml")
    table = prepare_table(config.data, tables_folder(config.storage))
    tuner = load_tuner(config.model, config.data, config.train, table.path)
    tuner.load_state_dict(RunDirectory(str(run)).best.weights())
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
        state.forms.answered(request.config, {"error": None} | make(request.config, tuner))
        return
    began = time.time()
    *_, last = tuner.run(Plan.from_json(request.config["plan"]))
    stored, written = store(tuner, request.config, last)
    row = {
        "status": "diverged" if last.diverged else "ok",
        "epochs": last.epoch,
        "images": last.images,
        "seconds": last.seconds,
        "started_at": began,
        "finished_at": time.time(),
    } | last.validation.finite.columns
    measured = {"row": row | stored, "cold": False, "whole": True} | written
    state.record(request.proposal, measured, "by hand")
    state.tell(request.proposal.evaluation)
