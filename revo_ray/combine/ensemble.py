"""Greedy choice of an ensemble over stored predictions (Caruana et al. 2004)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

MOST_ADDITIONS = 50
LEAST_GAIN = 1e-9
"""Decrease of the log loss, in nats, that an addition must reach. Less is rounding."""


def choose_ensemble(
    logits: Mapping[int, NDArray[np.float32]],
    labels: NDArray[np.int64],
    images: NDArray[np.int64] | None = None,
) -> dict[int, float]:
    """Choose members whose mean probabilities have the least log loss.

    The choice is greedy and with replacement: each step adds the evaluation that lowers the loss
    most, of equals the lower one, until none lowers it. Beside the logits this takes memory for one
    probability for each evaluation and image, that of the true class.

    Args:
        logits: (n, C) by evaluation. Those that have no finite loss are left out.
        labels: (n,) classes.
        images: positions of the images to choose by; all by default.

    Returns:
        The members with their weights, which sum to 1, in the order of their numbers. Empty if no
        evaluation has a finite loss.
    """
    known = {
        evaluation: likelihoods
        for evaluation in sorted(logits)
        if np.isfinite(likelihoods := _log_likelihoods(logits[evaluation], labels, images)).all()
    }
    if not known:
        return {}
    stack = np.stack([*known.values()])
    total = np.full(stack.shape[1], -np.inf)
    chosen: list[int] = []
    least = np.inf
    while len(chosen) < MOST_ADDITIONS:
        losses = np.log(len(chosen) + 1) - np.logaddexp(total, stack).mean(1)
        place = int(losses.argmin())
        if losses[place] > least - LEAST_GAIN:
            break
        chosen.append(place)
        total, least = np.logaddexp(total, stack[place]), losses[place]
    evaluations = [*known]
    return {
        evaluations[place]: count / len(chosen) for place, count in sorted(Counter(chosen).items())
    }


def mean_logits(
    logits: Mapping[int, NDArray[np.float32]], members: Mapping[int, float]
) -> NDArray[np.float32]:
    """The logarithm (n, C) of the weighted mean of the members' probabilities."""
    from scipy.special import log_softmax

    total: NDArray[np.float64] | None = None
    for evaluation, share in sorted(members.items()):
        own = log_softmax(logits[evaluation].astype(np.float64), axis=1)
        own += np.log(share)
        total = own if total is None else np.logaddexp(total, own, out=total)
    if total is None:
        raise ValueError("an ensemble without members")
    return total.astype(np.float32)


def _log_likelihoods(
    logits: NDArray[np.float32], labels: NDArray[np.int64], images: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """The logarithm (n,) of the probability of each image's class."""
    if images is not None:
        logits, labels = logits[images], labels[images]
    with np.errstate(invalid="ignore"):  # infinite logits give NaN, which the caller leaves out
        shifted = logits - logits.max(1, keepdims=True)
        true = shifted[np.arange(len(labels)), labels].astype(np.float64)
        return true - np.log(np.exp(shifted).sum(1, dtype=np.float64))
