"""Scores of logits against labels: cross-entropy, accuracy, AUC, balanced accuracy, macro F1."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from revo_ray.objective import Scores


def classification_scores(logits: Tensor | ArrayLike, labels: Tensor | ArrayLike) -> Scores:
    """Score logits against labels, in double precision on the CPU.

    If all classes have images, `auc` is scikit-learn's
    `roc_auc_score(labels, softmax(logits), multi_class="ovr")`, and for two classes its binary
    form. A class without images, or with all of them, is left out of the average; the AUC is None
    if no class is left. Balanced accuracy and macro F1 are scikit-learn's: balanced accuracy
    averages over the classes with images, macro F1 also over those that were predicted.

    If a logit is not finite, the loss is NaN and the other scores but the accuracy are None.

    Args:
        logits: (N, C) of any floating type.
        labels: (N,) classes, 0 … C-1.

    Raises:
        ValueError: no images, or the shapes do not fit together.
    """
    scores = torch.as_tensor(logits).detach().to("cpu", torch.float64)
    target = torch.as_tensor(labels).detach().to("cpu", torch.int64)
    if scores.ndim != 2 or target.shape != scores.shape[:1] or not len(target):
        raise ValueError(f"logits {tuple(scores.shape)} and labels {tuple(target.shape)}")
    accuracy = (scores.argmax(1) == target).double().mean().item()
    if not scores.isfinite().all():
        return Scores(loss=float("nan"), accuracy=accuracy)
    predicted, true = scores.argmax(1).numpy(), target.numpy()
    classes = scores.shape[1]
    counts = np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)
    right, images, answers = counts.diagonal(), counts.sum(1), counts.sum(0)
    seen = images + answers > 0
    return Scores(
        loss=functional.cross_entropy(scores, target).item(),
        accuracy=accuracy,
        auc=_macro_auc(scores, true),
        balanced_accuracy=float(np.mean(right[images > 0] / images[images > 0])),
        macro_f1=float(np.mean(2 * right[seen] / (images + answers)[seen])),
    )


def _macro_auc(logits: Tensor, labels: NDArray[np.int64]) -> float | None:
    """The mean AUC of the classes for which it is defined, from Mann and Whitney's statistic.

    That equals the area under the ROC curve, also with ties. scikit-learn takes a second to import,
    and its function longer than the training of a small head, mostly for checks.
    """
    # Only ranks count. These increase with a class's probability, but do not saturate at 1.
    scores = logits - logits.flip(1) if logits.shape[1] == 2 else functional.log_softmax(logits, 1)
    positive = labels[:, None] == np.arange(logits.shape[1])
    inside, outside = positive.sum(0), (~positive).sum(0)
    defined = (inside > 0) & (outside > 0)
    if not defined.any():
        return None
    above = (_ranks(scores.numpy()) * positive).sum(0) - inside * (inside + 1) / 2
    return float(np.mean(above[defined] / (inside[defined] * outside[defined])))


def _ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks (N, C) within each column from 1 on; equal scores have the mean of their ranks."""
    ranks = np.empty_like(scores)
    for column, own in zip(ranks.T, scores.T, strict=True):
        _, at, counts = np.unique(own, return_inverse=True, return_counts=True)
        column[:] = (counts.cumsum() - (counts - 1) / 2)[at]
    return ranks
