"""Asks the workers of a cluster how long a training step takes, before a search begins."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import ray

from revo_ray.errors import SearchError, UserError, first_line
from revo_ray.finetune.training.exhausted import StepMemoryError
from revo_ray.search.core.own_images import Measured
from revo_ray.search.ray.resources import TrialResources
from revo_ray.search.ray.stopping import stop_if_asked
from revo_ray.settings.schema import ResourcesConfig, TrainConfig

POLL_S = 0.2
PROCESS_S = 5.0
"""Most seconds that a worker's process takes to start, beside its libraries. A longer wait was for
a machine, and is over once steps are timed."""


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
            StepMemoryError: a step needs more memory than there is.
            UserError: the network cannot be had, or takes none of the sizes.
            SearchError: a worker failed.
        """
        task = ray.remote(_time_steps).options(
            # Ray makes a task again without end that it has killed for its memory, unless it is 0.
            **{"num_cpus": self._needs.cpus, "num_gpus": self._needs.gpus, "max_retries": 0}
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
            found: list[_Answer] = ray.get(answers)
        except ray.exceptions.OutOfMemoryError:
            raise StepMemoryError(train.batch_size, max(sizes)) from None
        except ray.exceptions.RayError as error:
            cause = first_line(getattr(error, "cause", None) or error)
            if isinstance(error, ray.exceptions.WorkerCrashedError):
                cause += (
                    f" If its memory ran out, lower train.batch_size ({train.batch_size}) or "
                    f"data.image_size ({max(sizes)})."
                )
            raise SearchError(f"cannot time a step of {model} on a worker: {cause}") from None
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)
        for answer in found:
            if answer.lacks_memory is not None:
                raise StepMemoryError(*answer.lacks_memory)
            if not answer.steps:
                raise UserError(answer.message, key=answer.key)
        took = time.perf_counter() - began
        every = [answer.steps for answer in found]
        timed = set.intersection(*map(set, every))
        start = took - max(answer.seconds for answer in found)
        return Measured(
            {size: statistics.median(steps[size] for steps in every) for size in timed},
            min(max(0.0, start), PROCESS_S + max(answer.imports for answer in found)),
        )


class _Answer(NamedTuple):
    """Answer of a worker. Errors travel as texts, for a `UserError` cannot as it is.

    Attributes:
        steps: seconds of a step for one of its images, by image size; empty after an error.
        seconds: time of timing them.
        imports: seconds in which the libraries were imported.
        message, key: of a `UserError`.
        lacks_memory: number and size of the images that memory ran out with.
    """

    steps: dict[int, float]
    seconds: float = 0.0
    imports: float = 0.0
    message: str = ""
    key: str | None = None
    lacks_memory: tuple[int, int] | None = None


def _time_steps(
    model: str, classes: int, sizes: list[int], train: dict[str, Any], cpus: int, device: str
) -> _Answer:
    """Run on a worker."""
    began = time.perf_counter()
    from revo_ray.finetune.training.assemble import pick_device, use_threads
    from revo_ray.finetune.training.step_time import time_steps

    imported = time.perf_counter()
    use_threads(cpus)
    place = pick_device(device, bool(ray.get_gpu_ids()))
    try:
        steps = time_steps(model, classes, sizes, TrainConfig.model_validate(train), place)
    except StepMemoryError as error:
        return _Answer({}, lacks_memory=(error.images, error.size))
    except UserError as error:
        # The key stands before the message again where the error is raised.
        return _Answer({}, message=error.args[0], key=error.key)
    return _Answer(steps, time.perf_counter() - imported, imported - began)
