"""Greedy choice of an ensemble over stored predictions (Caruana et al. 2004)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def choose_ensemble(
    logits: Mapping[int, NDArray[np.float32]], labels: NDArray[np.int64]
) -> dict[int, float]:
    """Choose members whose mean probabilities have the least log loss.

    Args:
        logits: (n, C) by evaluation.
        labels: (n,) classes.

    Returns:
        The members with their weights, which sum to 1, in the order of their numbers.
    """
    raise NotImplementedError


def mean_logits(
    logits: Mapping[int, NDArray[np.float32]], members: Mapping[int, float]
) -> NDArray[np.float32]:
    """The logarithm (n, C) of the weighted mean of the members' probabilities."""
    raise NotImplementedError
