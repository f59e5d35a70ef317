"""Image size, epochs and evaluations that fit a time, from the seconds that a training step takes.

The rules, in full (docs/own-images.md has them for users):

- Batches have 8 images below 100 training images, 16 below 1,000, else 32.
- An evaluation makes about 100 steps, in 3 to 10 epochs.
- The smallest plan has one generation of evaluations, a third of the epochs, and the smallest
  images: 64 px on a CPU, the network's own size on a GPU.
- More time buys, in this order: a second generation, which is the first that varies the rates of
  layers, images of 128 px, all epochs, images of the network's own size, and generations up to 100
  evaluations.
- Images are not enlarged: the size is at most the first one that is no smaller than theirs.

Every step of that order makes a plan larger and none smaller, so more time never gives less.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

SIZES = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
"""Sides of images in pixels; networks halve them five times."""
GOOD_SIZE = 128
"""Images are brought to this size before the epochs grow."""
STEPS = 100
EPOCHS = (3, 10)
EVALUATIONS = 100
IMBALANCED = 2.0
"""Classes are weighed where the largest has at least so many times the images of the smallest."""
FORWARD = 1 / 3
"""Time of an image's forward pass, as a part of its step: the backward pass takes twice as long."""
EVALUATION_S = 0.3
"""Seconds of an evaluation beside its images: weights that are reset and written, the row."""
ENDS_S = 8.0
"""Seconds before the first evaluation and after the last one, beside those that are measured: to
load the network, and to write the result."""
FORMS = 4
"""Forms of the result that are tested."""


@dataclass(frozen=True)
class Plan:
    """Settings of a search that its time depends on."""

    image_size: int
    epochs: int
    evaluations: int


@dataclass(frozen=True)
class Work:
    """Facts that the time of a search depends on.

    Attributes:
        train, validation, test: number of images of each split.
        steps: seconds of a training step for one of its images, by image size; at least one size.
        workers: evaluations that run at the same time.
        population: evaluations of a generation.
        seconds: time that every plan takes: to read the images and to start the workers.
    """

    train: int
    validation: int
    test: int
    steps: Mapping[int, float]
    workers: int = 1
    population: int = 10
    seconds: float = 0.0

    def per_image(self, size: int) -> float:
        """Seconds of a training step for one image: linear in its pixels between those measured."""
        (low, first), (high, last) = min(self.steps.items()), max(self.steps.items())
        if low == high:
            return first * (size / low) ** 2
        slope = max(0.0, last - first) / (high**2 - low**2)
        return first + slope * max(0, size**2 - low**2)

    def seconds_of(self, plan: Plan) -> float:
        """Seconds that a search takes from here on, if every unit trains."""
        image = self.per_image(plan.image_size)
        seen = FORWARD * (self.train + self.validation)
        evaluation = EVALUATION_S + image * (plan.epochs * self.train + seen)
        tests = image * FORWARD * (FORMS * self.test + self.train)
        return self.seconds + ENDS_S + self._rounds(plan.evaluations) * evaluation + tests

    def _rounds(self, evaluations: int) -> int:
        """Evaluations of the busiest worker; each generation waits for the one before."""
        whole, rest = divmod(evaluations, self.population)
        return whole * math.ceil(self.population / self.workers) + math.ceil(rest / self.workers)


@dataclass(frozen=True)
class Limits:
    """Least and most of each setting. One that the user has set has one value."""

    sizes: tuple[int, ...]
    epochs: tuple[int, int]
    evaluations: tuple[int, int]


def batch_size(train: int) -> int:
    """Images per step, from the number of training images."""
    return 8 if train < 100 else 16 if train < 1000 else 32


def limits(
    train: int,
    batch: int,
    own_size: int,
    side: int | None = None,
    *,
    smaller: bool = True,
    population: int = 10,
) -> Limits:
    """Limits of a plan, none of them set by the user.

    Args:
        train: number of training images.
        batch: images per step.
        own_size: image size that the network was made for.
        side: pixels of the images' shorter side, if it is known.
        smaller: whether the network may get smaller images than it was made for.
        population: evaluations of a generation.
    """
    least, most = EPOCHS
    epochs = min(most, max(least, math.ceil(STEPS / math.ceil(train / batch))))
    sizes = (*(size for size in SIZES if size < own_size), own_size) if smaller else (own_size,)
    enough = next((size for size in sizes if side is not None and size >= side), own_size)
    return Limits(
        tuple(size for size in sizes if size <= enough),
        (max(1, epochs // 3), epochs),
        (population, max(population, EVALUATIONS - EVALUATIONS % population)),
    )


def plans(limits: Limits, population: int = 10) -> Iterator[Plan]:
    """Plans within the limits, each at least as large as the one before in every setting."""
    plan = Plan(limits.sizes[0], limits.epochs[0], limits.evaluations[0])
    yield plan
    more = range(plan.evaluations + population, limits.evaluations[1] + 1, population)
    for evaluations in more[:1]:
        yield (plan := replace(plan, evaluations=evaluations))
    for size in limits.sizes[1:]:
        if size <= GOOD_SIZE:
            yield (plan := replace(plan, image_size=size))
    for epochs in range(plan.epochs + 1, limits.epochs[1] + 1):
        yield (plan := replace(plan, epochs=epochs))
    for size in limits.sizes:
        if size > plan.image_size:
            yield (plan := replace(plan, image_size=size))
    for evaluations in more[1:]:
        yield (plan := replace(plan, evaluations=evaluations))


def largest(limits: Limits, work: Work, seconds: float) -> Plan:
    """The largest plan that takes at most so many seconds; the smallest one if none does."""
    chosen, *others = plans(limits, work.population)
    for plan in others:
        if work.seconds_of(plan) > seconds:
            break
        chosen = plan
    return chosen
