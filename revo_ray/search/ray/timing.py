"""Asks the workers of a cluster how long a training step takes, before a search begins."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import ray

from revo_ray.errors import SearchError, UserError
from revo_ray.search.core.own_images import Measured
from revo_ray.search.ray.resources import TrialResources
from revo_ray.search.ray.stopping import stop_if_asked
from revo_ray.settings.schema import ResourcesConfig, TrainConfig

POLL_S = 0.2


class RayWorkers:
    """The workers of the cluster that this process is connected to; see `core.own_images.Workers`.

    Args:
        needs: resources of an evaluation.
        resources: that section of the configuration.
    """

    def __init__(self, needs: TrialResources, resources: ResourcesConfig) -> None:
        self._needs, self._resources = needs, resources
        slots = max(1, needs.slots())
        self.count = min(slots, resources.max_concurrent or slots)
        self.gpu = needs.gpus > 0 and resources.device != "cpu"

    def time_steps(
        self, model: str, classes: int, sizes: Sequence[int], train: TrainConfig, at_once: int
    ) -> Measured:
        """Time a training step on so many workers at once; their median for each size.

        Raises:
            UserError: the network cannot be had, or takes none of the sizes.
            SearchError: a worker failed.
        """
        task = ray.remote(_time_steps).options(
            num_cpus=self._needs.cpus, num_gpus=self._needs.gpus, max_retries=1
        )
        words = (model, classes, list(sizes), train.model_dump(mode="json"))
        more = (self._needs.cpus, self._resources.device)
        began = time.perf_counter()
        waiting = [task.remote(*words, *more) for _ in range(at_once)]
        answers = list(waiting)
        try:
            while waiting:
                stop_if_asked()
                _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=POLL_S)
            found = ray.get(answers)
        except ray.exceptions.RayError as error:
            cause = " ".join(str(error).split())
            raise SearchError(f"cannot time a step of {model} on a worker: {cause}") from None
        finally:
            for answer in waiting:
                ray.cancel(answer, force=True)
        for steps, _, (message, key) in found:
            if not steps:
                raise UserError(message, key=key)
        took = time.perf_counter() - began
        every = [steps for steps, _, _ in found]
        timed = set.intersection(*map(set, every))
        return Measured(
            {size: statistics.median(steps[size] for steps in every) for size in timed},
            max(0.0, took - max(seconds for _, seconds, _ in found)),
        )


def _time_steps(
    model: str, classes: int, sizes: list[int], train: dict[str, Any], cpus: int, device: str
) -> tuple[dict[int, float], float, tuple[str, str | None]]:
    """Run on a worker.

    Returns:
        The times, the seconds of timing them, and the message and key of a `UserError`, which
        cannot travel as it is.
    """
    from revo_ray.finetune.training.assemble import pick_device, use_threads
    from revo_ray.finetune.training.step_time import time_steps

    began = time.perf_counter()
    use_threads(cpus)
    place = pick_device(device, bool(ray.get_gpu_ids()))
    try:
        steps = time_steps(model, classes, sizes, TrainConfig.model_validate(train), place)
    except UserError as error:
        return {}, 0.0, (str(error), error.key)
    return steps, time.perf_counter() - began, ("", None)
