"""The files that a worker writes of an evaluation, before its row is written."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from revo_ray.objective import METRICS
from revo_ray.rundir.run_directory import RunDirectory

if TYPE_CHECKING:
    from revo_ray.finetune.training.loop import Epoch
    from revo_ray.finetune.training.tuner import FineTuner


def store(
    tuner: FineTuner, config: dict[str, Any], epoch: Epoch
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the predictions of an evaluation that ended well, then the weights if they may be kept.

    Returns:
        The columns of the row that follow, and what the search has to know besides: whether weights
        were written, or the error of the storage.
    """
    objective, limit, number = METRICS[config["objective"]], config["limit"], config["evaluation"]
    stored: dict[str, Any] = {}
    if epoch.diverged or epoch.logits is None:
        return stored, {}
    run = RunDirectory(config["task"]["run"])
    try:
        if config["predictions"] != "none":
            logits = epoch.logits.cpu().numpy()
            stored["predictions"] = run.predictions.write(number, logits, config["predictions"])
        rank = objective.rank(epoch.validation, number)
        if math.isinf(rank[0]) or (limit is not None and rank >= tuple(limit)):
            return stored, {}
        run.models.write(tuner.state_dict(), number)
    except OSError as error:
        return stored, {"storage_error": str(error)}
    return stored, {"weights": True}
