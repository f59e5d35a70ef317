"""Run directories with every form of a result, made of real trainings without a search's loop."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from revo_ray.data.shared_files import tables_folder
from revo_ray.data.table.image_table import prepare_table, split_table
from revo_ray.finetune.network import UNIT_RULES
from revo_ray.finetune.network.units import Unit
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_network
from revo_ray.finetune.training.depthwise import without_matrices
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.forms import Form
from revo_ray.rundir.model_folder import ModelFolder
from revo_ray.rundir.outcome import FormResult, SearchResult
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.schema import SearchConfig

SMALL = (
    "model.name=timm/test_efficientnet",
    "model.weights=none",
    "data.image_size=32",
    "data.max_images=300",
    "data.train_fraction=0.2",
    "train.epochs=1",
    "search.evaluations=3",
    "search.result=best",
)
RATES = (1e-3, 1e-2, 3e-3)
MEMBERS = {0: 0.25, 1: 0.75}
"""Shares in the ensemble. Weights of the first lie in `models/`, of the other in `ensemble/`."""
PLAIN = 2


def make_run(folder: Path, name: str, *overrides: str, ended: bool = True) -> Path:
    """Write the run directory of a search of three evaluations, with every form of its result.

    Args:
        folder: the storage.
        name: of the search.
        overrides: of its configuration.
        ended: False: it was interrupted, and has a best model alone.
    """
    config = SearchConfig.load(None, [*SMALL, f"storage={folder}", f"name={name}", *overrides])
    run = RunDirectory.of(config)
    rules = {"units": UNIT_RULES, "proposals": 1}
    run.write_config(config, {"weights": None, "table": "0" * 64}, rules)
    tuner, units = tuner_of(config)
    card = {
        "classes": tuner.classes,
        "image_size": config.data.image_size,
        "mean": list(tuner.mean),
        "std": list(tuner.std),
        "intensity": None,
        "units": [unit.name for unit in units],
    }
    ledger, states, tests = run.ledger(), [], []
    for number, rate in enumerate(RATES):
        *_, last = tuner.run(Plan((rate,) * len(units)))
        row = Evaluation(
            evaluation=number,
            sample={},
            status="ok",
            unit_lrs=[rate] * len(units),
            epochs=1,
            images=last.images,
            **last.validation.finite.columns,
        )
        ledger.append(row)
        states.append(tuner.state_dict())
        tests.append(tuner.predict("test").softmax(1))
    best = config.search.metric.best(ledger)
    assert best is not None
    _write_model(run.best, best, states, card)
    if not ended:
        return Path(run.uri)
    _write_model(run.plain, ledger[PLAIN], states, card)
    run.models.write(states[0], 0)
    run.members.write(states[1], 1)
    run.ensemble.describe(card | {"members": {str(e): share for e, share in MEMBERS.items()}})
    means = {key: (tensor + states[1][key]) / 2 for key, tensor in states[0].items()}
    run.soup.write({key: mean.to(states[0][key].dtype) for key, mean in means.items()}, 0, 1)
    run.soup.describe(card | {"members": {"0": 0.5, "1": 0.5}})
    labels = tuner.feeds["test"].labels
    members: dict[str, dict[int, float]] = {
        "best": {best.evaluation: 1.0},
        "ensemble": MEMBERS,
        "plain": {PLAIN: 1.0},
    }
    forms = {}
    for form, shares in members.items():
        mean = torch.stack([share * tests[number] for number, share in shares.items()]).sum(0)
        forms[form] = FormResult(
            members=shares,
            validation={"loss": 1.5, "accuracy": 0.5},
            cross_fitted=None if form == "plain" else {"loss": 1.625, "accuracy": 0.4375},
            test=asdict(classification_scores(mean.log(), labels).finite),
            intervals={"accuracy": (0.25, 0.75)},
        )
    made = SearchResult.of_rows(config.name, run.uri, [*ledger], config.search.metric)
    splits = {name: len(feed) for name, feed in tuner.feeds.items()}
    run.write_outcome(
        replace(
            made,
            test=forms["best"].test,
            stopped_by="budget",
            test_looks=3,
            form=config.search.result,
            forms=forms,
            splits=splits,  # type: ignore[arg-type]
        )
    )
    return Path(run.uri)


def tuner_of(config: SearchConfig) -> tuple[Any, list[Unit]]:
    """The fine-tuner of a configuration, with the classes and the statistics of its images."""
    table = prepare_table(config.data, tables_folder(config.storage))
    backbone, units = load_network(config.model, config.data, config.train, table)
    tuner: Any = FineTuner(backbone, units, table, split_table(table, config.data), config.train)
    tuner.classes, tuner.mean, tuner.std = table.classes, backbone.mean, backbone.std
    return tuner, units


def _write_model(
    folder: ModelFolder, row: Evaluation, states: list[dict[str, Tensor]], card: dict[str, Any]
) -> None:
    folder.write(states[row.evaluation], row.evaluation)
    folder.take(row, "", card)


def probabilities(run: Path, form: Form, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The probabilities (N, C) of a form, by the search's own tuner and the stored weights."""
    directory = RunDirectory(str(run))
    tuner, _ = tuner_of(directory.config().config)
    stored = directory.form(form)
    assert stored is not None
    total = np.zeros((len(pixels), len(tuner.classes)))
    for share, state in stored.weights():
        tuner.load_state_dict(state)
        tuner.model.eval()
        with torch.inference_mode(), without_matrices(tuner.model):
            logits = tuner.forward(tuner.normalise(torch.from_numpy(pixels)))
        total += share * logits.double().softmax(1).numpy()
    return total
