"""Cross-fitting: scores of a choice on images that it was not made by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from revo_ray.objective import Scores

Positions = NDArray[np.int64]


def make_folds(
    labels: NDArray[np.int64], groups: Sequence[str | None], seed: int, count: int = 5
) -> list[Positions]:
    """Divide images into folds: stratified by class, groups whole, by a seed.

    Returns:
        The positions (m,) of each fold; empty if the images cannot be divided.
    """
    raise NotImplementedError


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
    """
    raise NotImplementedError
