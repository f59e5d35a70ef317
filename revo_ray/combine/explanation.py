"""What a model gets right and wrong: intervals, confusions, scores by class, calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from revo_ray.objective import Scores


def score_intervals(
    logits: NDArray[np.float32], labels: NDArray[np.int64], scores: Scores
) -> dict[str, tuple[float, float]]:
    """95 % intervals of scores for so many images, by metric."""
    raise NotImplementedError


def worst_errors(
    logits: NDArray[np.float32], labels: NDArray[np.int64], count: int = 12
) -> NDArray[np.int64]:
    """Positions (m,) of the images that are wrong with the highest confidence, the surest first."""
    raise NotImplementedError


def explain(
    logits: NDArray[np.float32], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Confusions, scores by class and calibration, as plain values for `result.json`."""
    raise NotImplementedError
