"""A dry run: checks searches as far as possible without Ray, and estimates what they will take."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from revo_ray.data.splits.split import Splits
from revo_ray.data.table.image_table import Table
from revo_ray.errors import UserError
from revo_ray.methods import Method
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.own_images import Measured
from revo_ray.search.core.prepare import Preparation
from revo_ray.search.core.shared_gpu import gpu_memory_line
from revo_ray.search.core.slots import slots
from revo_ray.search.core.time_budget import FORWARD
from revo_ray.search.core.winners import find_warm_start, first_space
from revo_ray.settings.schema import ResourcesConfig, SearchConfig, TrainConfig

if TYPE_CHECKING:
    from revo_ray.finetune.network.backbone import Backbone
    from revo_ray.finetune.network.units import Unit

START_S = 8.0
"""Seconds in which a worker starts and imports its libraries, where none is asked."""
TIMED = ("batch_size", "optimizer", "augment", "precision", "seed")
"""Keys of `train:` that the time of a step depends on, and the seed."""


@dataclass
class Cell:
    """Searches on the same images, network and training fraction.

    Attributes:
        images: source of the images, and the last part of its root where that says more.
        fraction: of the images to train on, or `rest`.
        model: name of the network.
        units: number of its units.
        splits: number of images to train, validate and test on.
        searches: number of searches.
    """

    images: str
    fraction: float | str
    model: str
    units: int
    splits: tuple[int, int, int]
    searches: int = 0


@dataclass
class DryRun:
    """The checked searches, and what they will take.

    Attributes:
        cells: the searches by images and network.
        steps: seconds of a training step in which every unit trains, and its number of images, by
            network.
        evaluations, epochs, images: totals of the searches; images are those to train on.
        seconds: time of all evaluations one after the other, if every unit trains.
        workers: evaluations that this machine runs at the same time.
        warm_starts: the winners with which searches begin, in a few words each.
        gpu_memory: a line on the memory that evaluations need which share a GPU, by network.
        promised: estimated time of a search whose settings were fitted to a time; no other step is
            timed then.
    """

    preparation: Preparation
    cells: dict[Any, Cell] = field(default_factory=dict)
    steps: dict[str, tuple[float, int]] = field(default_factory=dict)
    evaluations: int = 0
    epochs: int = 0
    images: int = 0
    seconds: float = 0.0
    workers: int = 1
    warm_starts: set[str] = field(default_factory=set)
    gpu_memory: dict[str, str] = field(default_factory=dict)
    promised: float | None = None
    _units: dict[Any, list[Unit]] = field(default_factory=dict)
    _per_image: dict[Any, float] = field(default_factory=dict)
    _tried: set[str] = field(default_factory=set)

    def add(self, config: SearchConfig) -> None:
        """Check a search and count it. Images and networks that were checked before are not again.

        Raises:
            UserError: the configuration, the data, the model or the run directory is wrong.
        """
        config, method = self.preparation.check_unlocked(config)
        table, splits = self.preparation.table(config), self.preparation.splits(config)
        units, per_image = self._network(config, table, splits)
        stops_early = self._try(config, method, units)
        sizes = (len(splits.train), len(splits.validation), len(splits.test))
        data, train = config.data, config.train
        folder = PurePosixPath(data.root or "").name
        images = f"{data.source} {folder if folder != data.source else ''}".strip()
        key = (repr(data.model_copy(update={"seed": 0})), config.model)
        cell = Cell(images, data.train_fraction, config.model.name, len(units), sizes)
        self.cells.setdefault(key, cell).searches += 1
        count = config.search.evaluations
        self.evaluations += count
        self.epochs += count * train.epochs
        self.images += count * train.epochs * sizes[0]
        validated = train.epochs if stops_early or train.validate_epochs == "every" else 1
        seen = validated * (sizes[1] + sizes[0] * (train.batch_norm == "precise"))
        self.seconds += count * per_image * (train.epochs * sizes[0] + FORWARD * seen)
        self.workers = _workers(config.resources)

    def _network(
        self, config: SearchConfig, table: Table, splits: Splits
    ) -> tuple[list[Unit], float]:
        """The units of a search's network, and the seconds that training takes for an image."""
        from revo_ray.finetune.training.assemble import load_network

        model, size = config.model, config.data.image_size
        key = (model, len(table.classes), size)
        timed = (model, size, *(getattr(config.train, name) for name in TIMED[:-1]))
        if key not in self._units or timed not in self._per_image:
            backbone, units = load_network(model, config.data, config.train, table)
            if (say := self.preparation.say) is not None:
                for note in backbone.notes:
                    say(f"model.weights: {note}")
            self._units[key] = units
            if timed not in self._per_image:
                gpu_bytes = _gpu_bytes()
                if line := gpu_memory_line(config, backbone, table, splits, gpu_bytes):
                    self.gpu_memory.setdefault(model.name, line)
                self._per_image[timed] = 0.0
                if self.promised is None:  # else the steps were timed before
                    images = min(config.train.batch_size, len(splits.train))
                    seconds = _time_step(config, backbone, units, table, splits)
                    self._per_image[timed] = seconds / images
                    self.steps.setdefault(model.name, (seconds, images))
        return self._units[key], self._per_image[timed]

    def _try(self, config: SearchConfig, method: Method, units: list[Unit]) -> bool:
        """Make the first plan of a search, and its early stopping; tell whether it has any."""
        key = repr((config.method, config.model.name, config.model.granularity, len(units)))
        if key not in self._tried:
            warm = find_warm_start(config, RunDirectory.of(config), units)
            if warm is not None:
                self.warm_starts.add(warm.text)
            proposals = method.searcher(first_space(method, units, warm), config.search)
            if (proposal := proposals.ask()) is not None:
                try:
                    plan = method.plan(proposal.sample, units)
                except ValueError as error:
                    raise UserError(f"{method.name} makes no valid plan: {error}") from None
                if len(plan.unit_lrs) != len(units):
                    raise UserError(
                        f"{method.name} makes no valid plan: it has {len(plan.unit_lrs)} rates for "
                        f"{len(units)} units"
                    )
            self._tried.add(key)
        return self.preparation.early_stopping(method, config) is not None


class ThisMachine:
    """Evaluations of this process's machine, without Ray; see `own_images.Workers`."""

    def __init__(self, resources: ResourcesConfig) -> None:
        import torch

        self._resources, self.count = resources, _workers(resources)
        wanted = resources.device != "cpu" and resources.gpus_per_trial != 0
        self.gpu = wanted and torch.cuda.is_available()

    def time_steps(
        self, model: str, classes: int, sizes: Sequence[int], train: TrainConfig, at_once: int
    ) -> Measured:
        """Time a training step in this process, alone."""
        from revo_ray.finetune.training.assemble import pick_device
        from revo_ray.finetune.training.step_time import time_steps

        device = pick_device(self._resources.device, holds_gpu=self.gpu)
        with _threads(self._resources.cpus_per_trial):
            return Measured(time_steps(model, classes, sizes, train, device), START_S)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Give torch the threads of an evaluation for a while."""
    import torch

    from revo_ray.finetune.training.assemble import use_threads

    before = torch.get_num_threads()
    use_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _time_step(
    config: SearchConfig, backbone: Backbone, units: list[Unit], table: Table, splits: Splits
) -> float:
    """Seconds of a training step as an evaluation takes it, see `step_time.time_step`."""
    from revo_ray.finetune.training.assemble import pick_device
    from revo_ray.finetune.training.step_time import time_step

    train = TrainConfig(**{name: getattr(config.train, name) for name in TIMED})
    few = Splits(splits.train[: train.batch_size], splits.validation[:1], splits.test[:1])
    device = pick_device(config.resources.device, holds_gpu=config.resources.gpus_per_trial != 0)
    with _threads(config.resources.cpus_per_trial):
        return time_step(backbone, units, table, few, train, device)


def _gpu_bytes() -> int | None:
    """Memory of this machine's first GPU; None if it has none."""
    import torch

    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.get_device_properties(0).total_memory)


def _workers(resources: ResourcesConfig) -> int:
    """Evaluations that this machine runs at the same time."""
    import torch

    most = len(os.sched_getaffinity(0)) // resources.cpus_per_trial
    gpus = resources.gpus_per_trial
    if gpus and torch.cuda.is_available():
        most = min(most, slots(torch.cuda.device_count(), 1 if gpus == "auto" else gpus))
    return max(1, min(most, resources.max_concurrent or most))
