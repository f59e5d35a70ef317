"""How many evaluations train together where `resources.fuse` is auto: measured once, recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import ray
from ray.exceptions import RayError

from revo_ray.errors import SearchError, UserError
from revo_ray.rundir.recorded_config import record_fuse, recorded_fuse
from revo_ray.search.core.prepare import not_fused
from revo_ray.search.core.state import SearchState
from revo_ray.search.ray.resources import Footprint

CHOICES = (1, 2, 4, 8)
GAIN = 1.1
"""How many times the images a second a larger window must give."""


def settle_fuse(states: Sequence[SearchState], footprint: Footprint, slots: int) -> None:
    """Set `SearchState.fuse` of searches that leave it open, before their first evaluation.

    What was recorded holds for good, since it changes numbers. On a CPU it is 1, unmeasured: a
    stacked model does not pay there. Windows are never so large that machines would have none.

    Args:
        states: searches of which nothing runs yet; those with the same task measure once.
        footprint: what an evaluation holds.
        slots: how many evaluations run at once.

    Raises:
        UserError: the record of a search that has rows lacks it.
        SearchError: the worker that measured was lost.
    """
    measured: dict[str, list[float]] = {}
    for state in states:
        if state.config.resources.fuse != "auto":
            continue
        fuse = recorded_fuse(state.storage)
        if fuse is None:
            if len(state.ledger):
                raise UserError(
                    f"{state.storage.uri}/config.yaml does not say how many evaluations train "
                    "together; restore it, or choose another name"
                )
            choices = choices_for(state, footprint, slots)
            key = json.dumps([state.task | {"run": ""}, choices], sort_keys=True)
            if len(choices) > 1 and key not in measured:
                measured[key] = measure_on_worker(state.task, choices, footprint)
            fuse = best_choice(choices, measured.get(key, []))
            record_fuse(state.storage, fuse)
        state.fuse = fuse


def choices_for(state: SearchState, footprint: Footprint, slots: int) -> list[int]:
    """The sizes of windows worth a measurement."""
    config = state.config
    if not footprint.gpus or config.resources.device == "cpu" or not_fused(config, state.method):
        return [1]
    most = max(1, config.search.population // slots)
    return list(takewhile(lambda size: size <= most, CHOICES))


def best_choice(choices: Sequence[int], rates: Sequence[float]) -> int:
    """The largest size that pays over the next smaller one that does.

    Args:
        rates: images a second of each choice; of fewer, where one could not be measured.
    """
    chosen, best = 1, rates[0] if rates else 0.0
    for size, rate in zip(choices[1:], rates[1:], strict=False):
        if rate >= GAIN * best:
            chosen, best = size, rate
    return chosen


def measure_on_worker(
    task: dict[str, Any], choices: Sequence[int], footprint: Footprint
) -> list[float]:
    """Images a second of each choice, on a machine and device that evaluations will have.

    Raises:
        SearchError: the worker was lost.
    """
    # The process ends with the task, so that it leaves the device to the evaluations.
    remote = ray.remote(
        num_cpus=footprint.cpus, num_gpus=footprint.gpus, max_calls=1, max_retries=2
    )(measure)
    answer = remote.remote(task, list(choices))
    try:
        rates: list[float] = ray.get(answer)
    except RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise SearchError(
            f"cannot measure how many evaluations to train together ({reason}); set "
            "resources.fuse to a number, or go on with --resume"
        ) from None
    except BaseException:  # interrupted
        ray.cancel(answer, force=True)
        raise
    return rates


def measure(task: dict[str, Any], choices: Sequence[int]) -> list[float]:
    """Images a second of each choice, on this worker; it ends where one cannot be had."""
    from revo_ray.finetune.pace import images_per_second
    from revo_ray.search.ray.trial import tuner_for

    rates: list[float] = []
    try:
        tuner = tuner_for(task)
        for size in choices:
            rates.append(images_per_second(tuner, size))
    except Exception:  # no memory, or a model that cannot be stacked; evaluations tell of others
        return rates
    return rates
