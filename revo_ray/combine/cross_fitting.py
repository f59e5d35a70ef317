"""Cross-fitting: scores of a choice on images that it was not made by."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from revo_ray.objective import METRICS, Scores

Positions = NDArray[np.int64]


def make_folds(
    labels: NDArray[np.int64], groups: Sequence[str | None], seed: int, count: int = 5
) -> list[Positions]:
    """Divide images into folds: stratified by class, groups whole, by a seed.

    Args:
        labels: (n,) classes. If every class has fewer images than there are folds, the folds are
            of equal size, not stratified.
        groups: (n,) groups; an image without one is a group of its own.
        seed: of the division.
        count: number of folds.

    Returns:
        The positions (m,) of each fold; empty if there are fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    numbers: dict[str | int, int] = {}
    units = np.array(
        [
            numbers.setdefault(position if group is None else group, len(numbers))
            for position, group in enumerate(groups)
        ],
        np.int64,
    )
    if len(numbers) < count:
        return []
    classes = labels if np.bincount(labels).max() >= count else np.zeros_like(labels)
    divider = StratifiedKFold if len(numbers) == len(units) else StratifiedGroupKFold
    folds = divider(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer images than folds
        return [inside.astype(np.int64) for _, inside in folds.split(classes, classes, units)]


def cross_fitted(
    labels: NDArray[np.int64],
    folds: Sequence[Positions],
    choose: Callable[[Positions], NDArray[np.float32]],
) -> Scores | None:
    """Mean scores over the folds, each of what all the other folds choose.

    Args:
        labels: (n,) classes.
        folds: as `make_folds` makes them.
        choose: makes a choice by the images at these positions (m,), and gives the logits (n, C) of
            what it chose, for all images.

    Returns:
        The mean of each metric over the folds in which it is defined; None without folds.
    """
    from revo_ray.finetune.training.metrics import classification_scores

    if not folds:
        return None
    found = []
    for number, fold in enumerate(folds):
        others = np.sort(np.concatenate([*folds[:number], *folds[number + 1 :]]))
        scores = classification_scores(choose(others)[fold], labels[fold])
        found.append(asdict(scores.finite))
    return Scores.of_names({name: _mean([each[name] for each in found]) for name in METRICS})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
