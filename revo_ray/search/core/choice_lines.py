"""Lines for people on a search of own images: what was chosen, its time, and what changes it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from revo_ray.data.glance import Glance
from revo_ray.search.core.prepare import resolve
from revo_ray.search.core.time_budget import Limits, Plan, Work, largest
from revo_ray.settings.duration import time_text
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import counted, duration, listed, rough_duration


def plan_lines(
    config: SearchConfig,
    images: Glance,
    where: str,
    work: Work,
    plan: Plan,
    bounds: Limits,
    used: float,
) -> Iterator[str]:
    """Say what was chosen."""
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
        enough = 2 * work.population
        takes = work.seconds_of(replace(plan, evaluations=enough))
        chosen = bounds.evaluations[1] >= enough
        way = f"--time {_whole(takes + used)}" if chosen else f"--evaluations {enough}"
        yield "         all of them are plain fine-tuning, with one rate for all layers"
        yield (
            "         too few evaluations to give layers rates of their own: that takes "
            f"{enough} or more, about {rough_duration(takes)} here ({way})"
        )


def time_lines(
    config: SearchConfig, work: Work, plan: Plan, bounds: Limits, used: float, limit: timedelta
) -> Iterator[str]:
    """Say how long it will take, and what more time would buy."""
    takes, left = work.seconds_of(plan), limit.total_seconds() - used
    step = work.per_image(plan.image_size) * config.train.batch_size
    yield (
        f"time:    about {duration(takes)} from now: a step takes {1000 * step:,.0f} ms, "
        f"{min(work.workers, work.population)} at a time"
    )
    spent = f"         start and timing took {duration(used)} of --time {time_text(limit)}"
    if takes > left:
        few = work.seconds > takes / 2
        yield (
            f"{spent}: less is left, and there is no smaller plan"
            + ("" if few else "; --set data.max_images=N takes fewer images")
        )
        return
    more = 3 * min(limit, timedelta.max // 3)
    larger = largest(bounds, work, more.total_seconds() - used)
    grows = ["larger images"] * (plan.image_size < larger.image_size)
    grows += ["more epochs"] * (plan.epochs < larger.epochs)
    grows += ["more evaluations"] * (plan.evaluations < larger.evaluations)
    buys = f"; --time {time_text(more)} would buy {listed(grows)}" if grows else ""
    yield spent + buys


def _whole(seconds: float) -> str:
    """A time for `--time`, a tenth longer, in whole minutes, or hours if they are many."""
    unit = timedelta(minutes=1) if seconds < 7200 else timedelta(hours=1)
    return time_text(unit * math.ceil(1.1 * seconds / unit.total_seconds()))
