"""Run directories of searches whose forms were tested, written through the project's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from revo_ray.combine.explanation import explain, score_intervals, worst_errors
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.rundir import RunDirectory
from revo_ray.rundir.forms import Form, Members
from revo_ray.rundir.outcome import FormResult
from revo_ray.rundir.predictions import ScoredImages, TestPredictions
from tests.report.studies import write_search

CURVE = [
    {
        "epoch": epoch,
        "train_loss": 2.0 / epoch,
        "val_loss": 2.2 / epoch,
        "val_accuracy": 1 - 0.5 / epoch,
        "val_auc": 1 - 0.3 / epoch,
    }
    for epoch in range(1, 7)
]
MEMBERS: dict[Form, Members] = {
    "best": {7: 1.0},
    "ensemble": {3: 0.2, 7: 0.5, 11: 0.3},
    "soup": {3: 0.5, 7: 0.5},
    "plain": {1: 1.0},
}
EVALUATIONS = 12


def write_tested(
    folder: Path,
    name: str,
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    pixels: NDArray[np.uint8] | None = None,
    form: Form = "ensemble",
    settings: Sequence[str] = (),
) -> RunDirectory:
    """A finished search, whose forms answer the same test images a little differently.

    Args:
        logits: (n, C) of the ensemble, on the test images.
        names: of the test images.
        pixels: (n, S, S, 3) the test images.
        form: the form that is the result.
    """
    losses = [0.9 - 0.05 * (number == 7) for number in range(EVALUATIONS)]
    unit_lrs = [0.1, 0.0, 0.01]
    budget = [f"search.evaluations={EVALUATIONS}", f"search.result={form}", "method.sweep=true"]
    write_search(folder, name, [*budget, *settings], losses=losses, curve=CURVE, unit_lrs=unit_lrs)
    run = RunDirectory(str(folder / name))
    images = ScoredImages(
        tuple(names or [f"{classes[label]}/{n:04d}.png" for n, label in enumerate(labels)]),
        labels,
        (None,) * len(labels),
        tuple(classes),
    )
    run.predictions.write_images(images, images)
    if pixels is None:
        noise = np.random.default_rng(1).integers(0, 255, (len(labels), 8, 8, 3))
        pixels = noise.astype(np.uint8)
    # The bootstrap takes longer than all the rest: one serves for all forms.
    intervals = score_intervals(logits, labels, classification_scores(logits, labels).finite)
    forms = {}
    for number, (made, members) in enumerate(MEMBERS.items()):
        own = logits * np.float32(1 if made == form else 0.7 - 0.1 * number)
        worst = worst_errors(own, labels)
        found = TestPredictions(members, own, 1, worst, pixels[worst])
        run.predictions.write_test(made, found)
        values = asdict(classification_scores(own, labels).finite)
        forms[made] = FormResult(members, values, values, values, intervals)
    outcome = run.outcome()
    assert outcome is not None
    splits = {"train": 40, "validation": len(labels), "test": len(labels)}
    explained = explain(logits, labels, tuple(classes))
    run.write_outcome(
        replace(outcome, form=form, forms=forms, splits=splits, explained=explained, test_looks=4)
    )
    return run


def write_digits(folder: Path, name: str = "digits") -> RunDirectory:
    """The digits, as a regression on few of them labels the others."""
    digits = load_digits()
    train, test = np.arange(60), np.arange(60, 420)
    model = LogisticRegression(C=0.01, max_iter=500).fit(digits.data[train], digits.target[train])
    logits = model.predict_log_proba(digits.data[test]).astype(np.float32)
    grey = (digits.images[test] * 15).astype(np.uint8)
    pixels = np.repeat(grey[..., None], 3, axis=-1)
    classes = [str(name) for name in digits.target_names]
    return write_tested(folder, name, logits, digits.target[test], classes, pixels=pixels)


def random_answers(
    classes: int, images: int, *, sure: float = 2.0, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits (images, classes) that are right more often than not, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes)).astype(np.float32)
    logits[np.arange(images), labels] += sure
    return logits, labels
