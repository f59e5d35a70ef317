"""A search without a network: a state, and a worker that writes files as a real one does."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from revo_ray.rundir.ledger import Ledger
from revo_ray.rundir.predictions import ScoredImages, TestPredictions
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.prepare import resolve
from revo_ray.search.core.requests import Request
from revo_ray.search.core.state import SearchState
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage

WEIGHTS = {"w": torch.zeros(1)}
IMAGES = ScoredImages(
    names=tuple(f"{number}.png" for number in range(40)),
    labels=np.arange(40) % 2,
    groups=(None,) * 40,
    classes=("cat", "dog"),
)


@dataclass(frozen=True)
class FakeUnit:
    """A unit of a network that nobody needs to build."""

    name: str
    head: bool = False


UNITS = [FakeUnit("stem"), FakeUnit("body"), FakeUnit("head", head=True)]
CARD = {"classes": ["cat", "dog"], "image_size": 8, "mean": [0.5] * 3, "std": [0.5] * 3}
CARD |= {"units": [unit.name for unit in UNITS]}


def open_state(folder: Path | Storage, *overrides: str, **more: Any) -> SearchState:
    """A search in a folder, which goes on where that stands."""
    config = SearchConfig.load(None, ["search.evaluations=30", *overrides])
    place = folder if isinstance(folder, Storage) else str(folder)
    return open_search(config, RunDirectory(place), **more)


def open_search(config: SearchConfig, run: RunDirectory, **more: Any) -> SearchState:
    """A configured search in a run directory."""
    if run.predictions.images("test") is None:
        run.predictions.write_images(IMAGES, IMAGES)
    config, method = resolve(config)
    return SearchState(config, run, method, list(UNITS), {"run": run.uri}, CARD, **more)


def loss_of(request: Request) -> float:
    """The loss that an evaluation has."""
    return sum((rate - 0.01) ** 2 for rate in request.config["plan"]["unit_lrs"])


def weights_of(plan: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The weights that an evaluation has, which follow from its plan as they do in training."""
    return {"w": torch.tensor(plan["unit_lrs"])}


def logits_of(run: RunDirectory, split: str, number: int) -> np.ndarray:
    """The logits that an evaluation has on the images of a split."""
    images = run.predictions.images(split) or IMAGES
    labels, classes = images.labels, len(images.classes)
    rng = np.random.default_rng(number)
    noise = rng.normal(size=(len(labels), classes))
    return (noise + 2 * np.eye(classes)[labels]).astype(np.float32)


def measure(request: Request, folder: Path, status: str = "ok", **extra: Any) -> dict[str, Any]:
    """Report as a worker does, and write predictions and weights, as `trial.evaluate` does."""
    loss = loss_of(request) if status == "ok" else None
    number, limit, run = (
        request.config["evaluation"],
        request.config["limit"],
        RunDirectory(str(folder)),
    )
    row = {"status": status, "val_loss": loss, "epochs": 2, "images": 8, "seconds": 0.5} | extra
    if status == "ok" and request.config["predictions"] != "none":
        logits = logits_of(run, "validation", number)
        row["predictions"] = run.predictions.write(number, logits, "float32")
    wrote = loss is not None and (limit is None or (loss, loss, number) < tuple(limit))
    if wrote:
        run.models.write(weights_of(request.config["plan"]), number)
    return {"row": row, "weights": wrote, "cold": False, "whole": True}


def answer(request: Request) -> dict[str, Any]:
    """Do the work at the end of a search, as `final_work.make` does."""
    work, run = request.config, RunDirectory(request.config["task"]["run"])
    if work["make"] == "train":
        run.write_weights(work["folder"], weights_of(work["plan"]), work["evaluation"])
    elif work["make"] == "soup":
        members = {row["evaluation"]: 0.5 for row in work["candidates"][:2]}
        means = [run.models.weights(number)["w"].mean() for number in members]
        run.soup.write({"w": torch.stack(means).mean(0, keepdim=True)}, *members)
        return {
            "error": None,
            "members": members,
            "validation": {"loss": 0.5},
            "cross_fitted": None,
        }
    else:
        form = run.form(work["form"])
        assert form is not None
        assert form.complete
        logits = np.mean([logits_of(run, "test", number) for number in form.members], 0)
        logits[:, 0] += sum(share * float(found["w"].sum()) for share, found in form.weights())
        worst, shown = np.array([3]), np.zeros((1, 8, 8, 3), np.uint8)
        run.predictions.write_test(
            work["form"], TestPredictions(form.members, logits, work["looks"], worst, shown)
        )
    return {"error": None}


def finish(state: SearchState) -> list[str]:
    """Do all the work at the end of a search; gives the names of the works."""
    names = []
    while (request := state.next_request()) is not None:
        assert request.proposal is None
        state.forms.answered(request.config, answer(request))
        names.append(request.config["name"])
    assert state.done
    return names


def run(
    state: SearchState, folder: Path, workers: int = 1, seed: int = 0, stop_after: int = 99
) -> int:
    """Work on a state with workers that end in random order; gives the number of rows made."""
    rng, busy, made = random.Random(seed), [], 0
    while not state.done and made < stop_after:
        while len(busy) < workers and (request := state.next_request()) is not None:
            busy.append(request)
        if not busy:
            continue
        request = busy.pop(rng.randrange(len(busy)))
        if request.proposal is None:
            assert state.spent
            state.forms.answered(request.config, answer(request))
            continue
        state.record(request.proposal, measure(request, folder), "trial")
        made += 1
        kept = {row.evaluation for row in state.few.rows}
        assert len(models(folder) - kept) <= len(busy)
        state.tell(request.proposal.evaluation)
    return made


def models(folder: Path) -> set[int]:
    """The evaluations whose weights are in `models/`."""
    return {int(path.stem) for path in (folder / "models").glob("*.safetensors")}


def files(folder: Path) -> dict[str, bytes]:
    """The predictions, the weights and the descriptions in a run directory."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in ("models", "best", "plain", "ensemble", "soup", "predictions")
        for path in sorted((folder / name).glob("*"))
    }


def rows(folder: Path) -> list[dict[str, Any]]:
    """The ledger, without moments."""
    moments = {"started_at", "finished_at", "trial_id"}
    ledger = Ledger.load(Storage(str(folder)))
    return [{k: v for k, v in row.model_dump().items() if k not in moments} for row in ledger]
