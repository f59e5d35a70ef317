"""What an evaluation is scored by: cross-entropy, accuracy and macro one-vs-rest AUC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Metrics:
    """Scores of one set of images.

    Attributes:
        loss: mean cross-entropy in nats; NaN if any logit is not finite.
        accuracy: share of the images whose largest logit is that of their class, 0 … 1.
        auc: area under the ROC curve of each class against the rest, averaged over the classes
            that have both images and other images; None if there is no such class or a logit is
            not finite.
    """

    loss: float
    accuracy: float
    auc: float | None


def classification_metrics(logits: Tensor | ArrayLike, labels: Tensor | ArrayLike) -> Metrics:
    """Score logits against labels, in double precision on the CPU.

    Where all classes have images, `auc` is scikit-learn's
    `roc_auc_score(labels, softmax(logits), multi_class="ovr")`, and for two classes its binary
    form. A class without images (or without others) is left out of the average.

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
        return Metrics(loss=float("nan"), accuracy=accuracy, auc=None)
    loss = functional.cross_entropy(scores, target).item()
    return Metrics(loss=loss, accuracy=accuracy, auc=_macro_auc(scores, target.numpy()))


def _macro_auc(logits: Tensor, labels: NDArray[np.int64]) -> float | None:
    """The mean over the classes for which the AUC is defined, by Mann and Whitney's statistic.

    It is the area under the ROC curve, ties too, and takes one sort of all classes: scikit-learn's
    function costs more than the training of a small head, most of it to check what it is given.
    """
    # Any increasing function of a class's probability ranks alike; these two do not saturate.
    scores = logits - logits.flip(1) if logits.shape[1] == 2 else functional.log_softmax(logits, 1)
    positive = labels[:, None] == np.arange(logits.shape[1])
    inside, outside = positive.sum(0), (~positive).sum(0)
    defined = (inside > 0) & (outside > 0)
    if not defined.any():
        return None
    ranks = _ranks(scores.T.contiguous()).T.numpy()
    above = (ranks * positive).sum(0) - inside * (inside + 1) / 2
    return float(np.mean(above[defined] / (inside[defined] * outside[defined])))


def _ranks(scores: Tensor) -> Tensor:
    """The rank of each score in its row, from 1; equal ones share the mean of theirs."""
    ordered = scores.sort(1).values
    below = torch.searchsorted(ordered, scores)
    return (below + torch.searchsorted(ordered, scores, right=True) + 1).double() / 2
