"""Run directories with every form of a result, made of real trainings without a search's loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from revo_ray.data.shared_files import tables_folder
from revo_ray.data.table.image_table import prepare_table, split_table
from revo_ray.finetune.network import UNIT_RULES
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_network
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.objective import Scores
from revo_ray.rundir.evaluation import Evaluation
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
)
RATES = (1e-3, 1e-2, 3e-3)
MEMBERS = {0: 0.25, 1: 0.75}
"""Of the ensemble: one of them in `models/`, one in `ensemble/`."""


def make_run(folder: Path, name: str, *overrides: str) -> Path:
    """Write the run directory of a search of three evaluations, the second of which is the best."""
    config = SearchConfig.load(None, [*SMALL, f"storage={folder}", f"name={name}", *overrides])
    run = RunDirectory.of(config)
    run.write_config(
        config, {"weights": None, "table": "0" * 64}, {"units": UNIT_RULES, "proposals": 1}
    )
    table = prepare_table(config.data, tables_folder(config.storage))
    splits = split_table(table, config.data)
    backbone, units = load_network(config.model, config.data, config.train, table)
    tuner = FineTuner(backbone, units, table, splits, config.train)
    card = {
        "classes": table.classes,
        "image_size": config.data.image_size,
        "mean": list(backbone.mean),
        "std": list(backbone.std),
        "intensity": table.intensity,
        "units": [unit.name for unit in units],
    }
    ledger, rows, states, logits = run.ledger(), [], [], []
    for number, rate in enumerate(RATES):
        plan = Plan((rate,) * len(units))
        *_, last = tuner.run(plan)
        # The order of the rows is set, whatever the training gives.
        columns = last.validation.finite.columns | {"val_loss": 1.0 if number == 1 else 2.0}
        row = Evaluation(
            evaluation=number,
            sample={},
            status="ok",
            **{k: v for k, v in plan.to_json().items() if k == "unit_lrs"},
            **columns,
            epochs=1,
            images=len(splits.train),
        )
        ledger.append(row)
        rows.append(row)
        states.append(tuner.state_dict())
        logits.append(tuner.predict("test").softmax(1))
    run.models.write(states[0], 0)
    run.members.write(states[1], 1)
    best = rows[1]
    for model, row in ((run.best, best), (run.plain, rows[2])):
        model.write(states[row.evaluation], row.evaluation)
        model.take(row, run.models.path(row.evaluation), card)
    soup = {name: (t + states[1][name]) / 2 for name, t in states[0].items()}
    soup = {name: t.to(states[0][name].dtype) for name, t in soup.items()}
    run.soup.write(soup, None)
    run.soup.describe(card | {"members": {"0": 0.5, "1": 0.5}})
    run.ensemble.describe(card | {"members": {str(e): share for e, share in MEMBERS.items()}})
    mean = sum(share * logits[e] for e, share in MEMBERS.items())
    labels = tuner.feeds["test"].labels
    tests = {
        "best": classification_scores(logits[1].log(), labels),
        "ensemble": classification_scores(torch.as_tensor(mean).log(), labels),
        "plain": classification_scores(logits[2].log(), labels),
    }
    run.write_outcome(_outcome(run, config, rows, tests, splits))
    return Path(run.uri)


def _outcome(run, config, rows, tests, splits) -> SearchResult:  # type: ignore[no-untyped-def]
    made = SearchResult.of_rows(config.name, run.uri, rows, config.search.metric)
    members = {"best": {1: 1.0}, "ensemble": MEMBERS, "plain": {2: 1.0}}

    def values(scores: Scores) -> dict[str, float | None]:
        return vars(scores.finite)

    forms = {
        form: FormResult(
            members=members[form],
            validation=values(Scores(loss=1.5, accuracy=0.5)),
            cross_fitted=None if form == "plain" else values(Scores(loss=1.6, accuracy=0.45)),
            test=values(scores),
            intervals={"accuracy": (0.25, 0.75)},
        )
        for form, scores in tests.items()
    }
    from dataclasses import replace

    return replace(
        made,
        test=values(tests["best"]),
        stopped_by="budget",
        test_looks=3,
        form=config.search.result,
        forms=forms,
        splits={name: len(getattr(splits, name)) for name in ("train", "validation", "test")},
    )


def probabilities(run: Path, form: str, pixels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """The probabilities (N, C) of a form by the tuner and the stored weights, of uint8 images."""
    directory = RunDirectory(str(run))
    config = directory.config().config
    table = prepare_table(config.data, tables_folder(config.storage))
    backbone, units = load_network(config.model, config.data, config.train, table)
    splits = split_table(table, config.data)
    tuner = FineTuner(backbone, units, table, splits, config.train)
    stored = directory.form(form)  # type: ignore[arg-type]
    assert stored is not None
    total = np.zeros((len(pixels), len(table.classes)))
    for share, state in stored.weights():
        tuner.load_state_dict(state)
        tuner.model.eval()
        with torch.inference_mode():
            logits = tuner.forward(tuner.normalise(torch.from_numpy(pixels)))
        total += share * logits.double().softmax(1).numpy()
    return total
