"""How fast plans train alone and together, from a few steps."""

from __future__ import annotations

import time

from revo_ray.finetune.fused import FusedTuner
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.tuner import FineTuner

RATE = 1e-6
"""Of every unit: a rate at which nothing diverges."""
WARM_UP, STEPS = 3, 12


def images_per_second(tuner: FineTuner, count: int) -> float:
    """Training images a second of so many plans, each image counted once for each plan.

    One plan trains as `FineTuner` does, several as `FusedTuner` does. Every unit trains, and
    nothing is validated.

    Args:
        tuner: is pretrained again when it next runs.
        count: how many plans train together.
    """
    plans = [Plan((RATE,) * len(tuner.units))] * count
    fused = FusedTuner(tuner)
    if count == 1:
        tuner.begin(tuner.by_parameter(plans[0].unit_lrs))
    else:
        fused.begin(plans)
    order = tuner.shuffle()
    seconds, images = 0.0, 0
    for steps in (WARM_UP, STEPS):
        part = order.repeat(1 + steps * tuner.train.batch_size // len(order))
        part = part[: steps * tuner.train.batch_size]
        began = time.perf_counter()
        if count == 1:
            tuner.train_on(part)
        else:
            fused.train_on(part)
        seconds, images = time.perf_counter() - began, count * len(part)
    return images / seconds
