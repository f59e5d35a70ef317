"""Fills in what a search of own images leaves open, before its run directory is made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from rich.console import Console

from revo_ray.errors import UserError
from revo_ray.monitor.terminal import say
from revo_ray.search.core.own_images import TIME, Choice, Workers, choose, recorded_choice
from revo_ray.search.core.prepare import Preparation, resolve
from revo_ray.settings.schema import SearchConfig


def with_choice(
    config: SearchConfig,
    preparation: Preparation,
    workers: Callable[[], Workers],
    limit: timedelta | None,
    began: float,
    console: Console | None,
) -> Choice:
    """The configuration with its open keys chosen, or read where a resumed search recorded them.

    Raises:
        UserError: a time is given and nothing is open, or as `resolve`, `choose` and
            `Preparation.check`.
    """
    if not config.open_keys:
        if limit is not None:
            raise UserError(
                "--time (time=…) fits the settings of a search of a folder of images, and this "
                "configuration has settings of its own; search.stop_after ends a search in time"
            )
        return Choice(config)
    run = preparation.refuse_second(config)
    resolve(config)  # a mistake in the method, before Ray starts
    if preparation.resume and run.exists:
        return recorded_choice(config, run)
    say(console, "looking at the images, and timing a training step")
    choice = choose(config, workers, limit or TIME, began)
    for line in choice.lines:
        say(console, line)
    return choice
