"""Chooses the keys that a search of images leaves open, by the rules of `time_budget`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from revo_ray.data.glance import Glance, glance
from revo_ray.rundir.recorded_config import check_images
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.prepare import resolve
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
from revo_ray.words import counted, duration, listed

TIME = timedelta(minutes=5)
"""Time of a search of own images that names none."""


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
        """Time a training step, as `step_time.time_steps`, on so many workers at once."""


@dataclass(frozen=True)
class Choice:
    """A configuration with nothing left open.

    Attributes:
        config: with the chosen values.
        lines: for people: what was chosen, and why.
        seconds: estimated time of the search from here on; None if the choice was made before.
    """

    config: SearchConfig
    lines: tuple[str, ...] = ()
    seconds: float | None = None


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
    partly = config.filled_in(chosen)
    population = config.search.population
    bounds = _bounds(config, partly.train.batch_size, images, own_size, own.gpu)
    ends, train = dict.fromkeys((bounds.sizes[0], bounds.sizes[-1])), partly.train
    at_once = min(own.count, population, bounds.evaluations[1])
    steps, start = own.time_steps(partly.model.name, images.classes, [*ends], train, at_once)
    if not steps.keys() >= ends.keys():  # the network takes no smaller images than its own
        bounds = replace(bounds, sizes=bounds.sizes[-1:])
    work = Work(
        *(images.train, images.validation, images.test),
        steps,
        *(own.count, population),
        seconds=start + images.seconds * (images.train + images.validation + images.test),
    )
    seconds = limit.total_seconds() - (time.monotonic() - began)
    plan, bounds = _largest(partly.model.name, bounds, work, seconds)
    fitted = {
        "data.image_size": plan.image_size,
        "train.epochs": plan.epochs,
        "search.evaluations": plan.evaluations,
    }
    done = partly.filled_in({key: value for key, value in fitted.items() if key in left})
    promised = work.seconds_of(plan)
    fits = promised <= seconds
    lines = _lines(done, images, where, work, plan, bounds, promised, limit, fits)
    return Choice(done, tuple(lines), promised)


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


def _lines(
    config: SearchConfig,
    images: Glance,
    where: str,
    work: Work,
    plan: Plan,
    bounds: Limits,
    seconds: float,
    limit: timedelta,
    fits: bool,
) -> Iterator[str]:
    """Say what was chosen, how long it will take, and what would change it."""
    train = config.train
    count = images.train + images.validation + images.test
    yield (
        f"images:  {counted(count, 'image')} of {images.classes} classes, {images.train} to train, "
        f"{images.validation} to validate, {images.test} to test"
    )
    yield f"network: {config.model.name}, weights {where or config.model.weights}"
    if where:
        yield "         `revo-ray models` lists other networks; --set model.name=NAME takes one"
    extras = [f"augment {train.augment}"] * (train.augment != "none")
    extras += ["class weights balanced"] * (train.class_weights == "balanced")
    yield (
        f"plan:    {counted(plan.evaluations, 'evaluation')} of {counted(plan.epochs, 'epoch')}, "
        f"images of {plan.image_size} px, batches of {train.batch_size}"
        + "".join(f", {extra}" for extra in extras)
    )
    if resolve(config)[0].has_sweep and plan.evaluations <= work.population:
        yield (
            "         all of them are plain fine-tuning, with one rate for all layers; layers get "
            f"rates of their own from evaluation {work.population + 1} on"
        )
    step = work.per_image(plan.image_size) * train.batch_size
    yield (
        f"time:    about {duration(seconds)} from now: a step takes {1000 * step:,.0f} ms, "
        f"{min(work.workers, work.population)} at a time"
    )
    grows = ["larger images"] * (plan.image_size < bounds.sizes[-1])
    grows += ["more epochs"] * (plan.epochs < bounds.epochs[1])
    grows += ["more evaluations"] * (plan.evaluations < bounds.evaluations[1])
    if not fits:
        few = work.seconds > seconds / 2
        yield (
            f"         --time {time_text(limit)} leaves less, and there is no smaller plan"
            + ("" if few else "; --set data.max_images=N takes fewer images")
        )
    elif grows:
        yield f"         --time {time_text(3 * min(limit, timedelta.max // 3))} would buy {listed(grows, 'or')}"
