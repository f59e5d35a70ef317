"""Cross-fitting: scores of a choice on images that it was not made by."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from revo_ray.objective import LOSS, Metric, Scores

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

    units = group_numbers(groups)
    distinct = len(np.unique(units))
    if distinct < count:
        return []
    classes = labels if np.bincount(labels).max() >= count else np.zeros_like(labels)
    divider = StratifiedKFold if distinct == len(units) else StratifiedGroupKFold
    folds = divider(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer images than folds
        return [inside.astype(np.int64) for _, inside in folds.split(classes, classes, units)]


def group_numbers(groups: Sequence[str | None]) -> NDArray[np.int64]:
    """Numbers (n,) of groups, from 0; an image without a group is one of its own."""
    numbers: dict[str | int, int] = {}
    keys = (place if group is None else group for place, group in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def cross_fitted(
    labels: NDArray[np.int64],
    folds: Sequence[Positions],
    choose: Callable[[Positions], NDArray[np.float32]],
) -> Scores | None:
    """Scores of all images, those of each fold as answered by what the other folds choose.

    The loss and the accuracy are the means over the folds, weighted by their images. The other
    metrics are not defined, or mean something else, in folds that lack classes.

    Args:
        labels: (n,) classes.
        folds: as `make_folds` makes them.
        choose: makes a choice by the images at these positions (m,), and gives the logits (n, C) of
            what it chose, for all images.

    Returns:
        The scores; None without folds.
    """
    from revo_ray.finetune.training.metrics import classification_scores

    if not folds:
        return None
    answers: NDArray[np.float32] | None = None
    for number, fold in enumerate(folds):
        others = np.sort(np.concatenate([*folds[:number], *folds[number + 1 :]]))
        chosen = choose(others)
        answers = np.empty_like(chosen) if answers is None else answers
        answers[fold] = chosen[fold]
    assert answers is not None
    return classification_scores(answers, labels).finite


def ranking_scores(
    logits: NDArray[np.float32], labels: NDArray[np.int64], objective: Metric
) -> Scores:
    """The scores that rank a result: the loss alone if that is the objective, which is quick."""
    from torch import from_numpy
    from torch.nn.functional import cross_entropy

    from revo_ray.finetune.training.metrics import classification_scores

    if objective != LOSS:
        return classification_scores(logits, labels)
    return Scores(loss=float(cross_entropy(from_numpy(logits).double(), from_numpy(labels))))
