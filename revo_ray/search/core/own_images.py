"""Chooses the keys that a search of images leaves open, by the rules of `time_budget`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from revo_ray.data.glance import Glance, glance
from revo_ray.finetune.training.exhausted import StepMemoryError
from revo_ray.rundir.recorded_config import check_images
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.choice_lines import plan_lines, time_lines
from revo_ray.search.core.time_budget import (
    IMBALANCED,
    Limits,
    Plan,
    Work,
    batch_size,
    largest,
    limits,
)
from revo_ray.settings.duration import time_text
from revo_ray.settings.schema import ModelConfig, SearchConfig, TrainConfig
from revo_ray.words import duration

TIME = timedelta(minutes=5)
"""Time of a search of own images that names none."""
LEAST_BATCH = 4
"""Images of a batch that is not halved again, where memory holds no larger one."""


class Measured(NamedTuple):
    """Times that workers took.

    Attributes:
        steps: seconds of a training step for one of its images, by image size.
        start: seconds until a worker had started, with its libraries imported.
    """

    steps: Mapping[int, float]
    start: float


class Workers(Protocol):
    """Workers that will run the evaluations.

    Attributes:
        count: evaluations that run at the same time.
        gpu: whether they train on GPUs.
    """

    count: int
    gpu: bool

    def time_steps(
        self, model: str, classes: int, sizes: Sequence[int], train: TrainConfig, at_once: int
    ) -> Measured:
        """Time a training step, as `step_time.time_steps`, on so many workers at once.

        Raises:
            StepMemoryError: it needs more memory than there is.
        """


@dataclass(frozen=True)
class Choice:
    """A configuration with nothing left open.

    Attributes:
        config: with the chosen values.
        lines: for people: what was chosen, and why.
        seconds: estimated time of the search from here on; None if the choice was made before.
        used: seconds that the command had taken when the choice was made.
        limit: time that the command may take.
    """

    config: SearchConfig
    lines: tuple[str, ...] = ()
    seconds: float | None = None
    used: float = 0.0
    limit: timedelta = TIME

    def took(self, seconds: float) -> str | None:
        """A line on the time of the whole command, beside the estimate; None without one."""
        if self.seconds is None:
            return None
        return (
            f"it took {duration(seconds - self.used)}; about {duration(self.seconds)} were "
            f"estimated; {duration(seconds)} in all, of --time {time_text(self.limit)}"
        )


def recorded_choice(config: SearchConfig, run: RunDirectory) -> Choice:
    """Take the open keys from the configuration that a run directory records.

    Raises:
        UserError: it is damaged, of other images, or does not fit the keys that are set.
    """
    if not run.has_rows:  # else the table's checksum says whether the images are the same
        check_images(run.storage, config)
    recorded = run.config().config
    return Choice(config.filled_in({key: attrgetter(key)(recorded) for key in config.open_keys}))


def choose(
    config: SearchConfig, workers: Callable[[], Workers], limit: timedelta, began: float
) -> Choice:
    """Choose the open keys of a search, and estimate its time.

    Args:
        config: with open keys.
        workers: called once the images are known to be right.
        limit: time that the command may take.
        began: `time.monotonic()` when the command began.

    Raises:
        UserError: the images cannot be had or split, or no weights are at hand.
    """
    images, left = glance(config.data), config.open_keys
    own = workers()
    chosen, where, own_size = _network(config)
    simple = {
        "train.batch_size": batch_size(images.train),
        "train.augment": "flip",
        "train.class_weights": "balanced" if images.imbalance >= IMBALANCED else "none",
    }
    chosen |= {key: value for key, value in simple.items() if key in left}
    wanted = config.filled_in(chosen)
    partly, bounds, measured = _timed(own, config, wanted, images, own_size)
    counts = images.train, images.validation, images.test
    work = Work(
        *counts,
        measured.steps,
        *(own.count, config.search.population),
        seconds=measured.start + images.seconds * sum(counts),
    )
    used = time.monotonic() - began
    seconds = limit.total_seconds() - used
    plan, bounds = _largest(partly.model.name, bounds, work, seconds)
    fitted = {
        "data.image_size": plan.image_size,
        "train.epochs": plan.epochs,
        "search.evaluations": plan.evaluations,
    }
    done = partly.filled_in({key: value for key, value in fitted.items() if key in left})
    lines = [*plan_lines(done, images, where, work, plan, bounds, used)]
    if partly.train.batch_size < wanted.train.batch_size:
        lines.append(f"         memory does not hold batches of {wanted.train.batch_size}")
    lines += time_lines(done, work, plan, bounds, used, limit)
    return Choice(done, tuple(lines), work.seconds_of(plan), used, limit)


def _timed(
    own: Workers, config: SearchConfig, partly: SearchConfig, images: Glance, own_size: int
) -> tuple[SearchConfig, Limits, Measured]:
    """Time a step at the smallest and the largest image size.

    An open batch size is halved while memory does not hold the batch; then sizes are left out.

    Returns:
        The configuration `partly` and the limits, as far as memory allows, and the times.
    """
    batch, model = partly.train.batch_size, partly.model.name
    bounds = _bounds(config, batch, images, own_size, own.gpu)
    at_once = min(own.count, config.search.population, bounds.evaluations[1])
    while True:
        ends = [*dict.fromkeys((bounds.sizes[0], bounds.sizes[-1]))]
        try:
            measured = own.time_steps(model, images.classes, ends, partly.train, at_once)
        except StepMemoryError as error:
            if "train.batch_size" in config.open_keys and batch > LEAST_BATCH:
                partly = partly.filled_in({"train.batch_size": batch // 2})
                return _timed(own, config, partly, images, own_size)
            sizes = tuple(size for size in bounds.sizes if size < error.size)
            if not sizes:
                raise
            bounds = replace(bounds, sizes=sizes)
            continue
        if not measured.steps.keys() >= {*ends}:  # it takes no smaller images than its own
            bounds = replace(bounds, sizes=bounds.sizes[-1:])
        return partly, bounds, measured


def _network(config: SearchConfig) -> tuple[dict[str, Any], str, int]:
    """The network and weights to use, a clause that says where they are, and its image size."""
    from revo_ray.finetune.network.at_hand import find_weights, own_image_size

    left, name = config.open_keys, config.model.name
    if "model.weights" not in left:
        return {}, "", own_image_size(name)
    if "model.name" in left or name == ModelConfig().name:
        found = find_weights(config.model)
        if "model.name" in left or found.name == name:
            names = {"model.name": found.name, "model.weights": found.weights}
            return names, found.where, found.own_size
    return {"model.weights": "pretrained"}, "", own_image_size(name)


def _bounds(config: SearchConfig, batch: int, images: Glance, own_size: int, gpu: bool) -> Limits:
    """The limits of the plan, with one value for each key that the user has set."""
    left, train = config.open_keys, config.train
    population = config.search.population
    found = limits(
        images.train, batch, own_size, images.side, smaller=not gpu, population=population
    )
    least = int(train.warmup_epochs) + 1
    found = replace(found, epochs=(max(least, found.epochs[0]), max(least, found.epochs[1])))
    if "data.image_size" not in left:
        found = replace(found, sizes=(config.data.image_size,))
    if "train.epochs" not in left:
        found = replace(found, epochs=(train.epochs, train.epochs))
    if "search.evaluations" not in left:
        count = config.search.evaluations
        found = replace(found, evaluations=(count, count))
    return found


def _largest(name: str, bounds: Limits, work: Work, seconds: float) -> tuple[Plan, Limits]:
    """The largest plan in a time whose image size the network takes, and the limits with it."""
    from revo_ray.finetune.network.backbone import takes_whole

    while True:
        plan = largest(bounds, work, seconds)
        if plan.image_size in work.steps or takes_whole(name, plan.image_size):
            return plan, bounds
        sizes = tuple(size for size in bounds.sizes if size != plan.image_size)
        bounds = replace(bounds, sizes=sizes)
