"""Prepares searches: checks their configurations, images, networks and run directories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.shared_files import SharedFile, share_table, tables_folder
from revo_ray.data.splits.draw import DEFAULT_TRAIN
from revo_ray.data.splits.split import Splits, train_fraction
from revo_ray.data.table.image_table import Table, split_table
from revo_ray.errors import UserError
from revo_ray.evolve.proposals import PROPOSAL_RULES
from revo_ray.finetune.network import UNIT_RULES
from revo_ray.methods import Method, make_method
from revo_ray.rundir.lock import RunLock
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.predictions import ScoredImages
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.early_stopping import EarlyStopping
from revo_ray.search.core.paths import check_paths
from revo_ray.search.core.shared_gpu import gpu_memory_line
from revo_ray.search.core.state import SearchState
from revo_ray.search.core.winners import check_warm_start, find_warm_start
from revo_ray.search.core.worker_plugins import plugin_path_for_workers
from revo_ray.settings.schema import DataConfig, MethodConfig, SearchConfig
from revo_ray.storage import Storage

if TYPE_CHECKING:
    from revo_ray.finetune.network.units import Unit

TORCH = ("revo_ray.finetune.training.assemble",)
"""Modules that are imported here on first use: seconds of torch, in which Ray can start."""

RULES = {"units": UNIT_RULES, "proposals": PROPOSAL_RULES}
"""Versions of the rules that a search's rows depend on, beside its configuration."""


@dataclass(frozen=True)
class Checked:
    """A configuration that is right as far as can be said without its network.

    Attributes:
        config: with all of its method's options.
        run, lock: its run directory, and the lock on it.
    """

    config: SearchConfig
    method: Method
    run: RunDirectory
    lock: RunLock


@dataclass(frozen=True)
class Network:
    """A network, as the driver knows it.

    Attributes:
        units: input to output.
        mean, std: normalisation of its images, by channel.
        sha256: checksum of the weights file as it was given; None for random weights.
        revision: commit of the Hugging Face Hub that the weights are from; None if they are not.
        weights: the pretrained weights, for the workers; None for random weights.
    """

    units: list[Unit]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str | None
    revision: str | None
    weights: SharedFile | None


@dataclass
class Preparation:
    """Makes the state of each search. Searches with the same images or network load them once.

    Args:
        storage: the configured one, in which tables and weights of all its searches lie.
        resume: go on where run directories stand.
        stack: closes what is opened here.
        prepare_table: reads and decodes the images into a table in a folder.
        early_stopping: makes the early stopping that a method wants, or None.
        say: told in one line why something takes long, what of a weight file is not loaded, or how
            much memory evaluations need that share a GPU.
        within: the lock of the study that the searches belong to.
    """

    storage: str
    resume: bool
    stack: ExitStack
    _: KW_ONLY
    prepare_table: Callable[[DataConfig, Path], Table]
    early_stopping: Callable[[Method, SearchConfig], EarlyStopping | None]
    say: Callable[[str], None] | None = None
    within: RunLock | None = None
    _checked: dict[str, Checked] = field(default_factory=dict, init=False)
    _tables: dict[str, Table] = field(default_factory=dict, init=False)
    _splits: dict[str, Splits] = field(default_factory=dict, init=False)
    _networks: dict[tuple[Any, ...], Network] = field(default_factory=dict, init=False)

    def check(self, config: SearchConfig) -> Checked:
        """Lock a search's run directory, and find what is wrong before its network is loaded.

        Raises:
            UserError: the configuration, the data or the run directory is wrong.
        """
        if config.name not in self._checked:
            check_paths(config)
            run = RunDirectory.of(config)
            lock = self.stack.enter_context(run.lock(self.say, within=self.within))
            resolved, method = self.check_unlocked(config)
            self._checked[config.name] = Checked(resolved, method, run, lock)
        return self._checked[config.name]

    def check_unlocked(self, config: SearchConfig) -> tuple[SearchConfig, Method]:
        """Find what `check` finds, and write nothing but the table of the images.

        Returns:
            The configuration with all of its method's options, and the method.

        Raises:
            UserError: as `check`, but for a run directory that is in use.
        """
        run = self.refuse_second(config)
        resolved, method = resolve(config)
        if run.has_evaluations:
            resolved = _with_recorded_fraction(resolved, run)
            self._check_recorded(run, resolved, method)  # before images are read for nothing
        else:
            given = self.table(resolved).given
            resolved = _with_fraction(resolved, train_fraction(given, resolved.data))
        self.splits(resolved)
        return resolved, method

    def refuse_second(self, config: SearchConfig) -> RunDirectory:
        """The run directory of a search, which no other one has begun, unless it is resumed.

        Raises:
            UserError: another one has, its ledger is gone, or a path is relative inside a Ray job.
        """
        check_paths(config)
        run = RunDirectory.of(config)
        if not self.resume and run.has_evaluations:
            raise UserError(
                f"{run.uri} already holds a search; go on with --resume (resume=True), or "
                f"choose another name with --set name={config.name}-2"
            )
        if not run.has_rows and (found := run.outcome()) is not None and found.best is not None:
            raise UserError(
                f"{run.uri} holds the result of a search without its ledger; put ledger/ back, or "
                "delete result.json and ledger.parquet to begin anew"
            )
        return run

    def state(self, config: SearchConfig) -> SearchState:
        """A search's state, after `check`.

        Raises:
            UserError: the configuration, the data, the model or the run directory is wrong.
        """
        checked = self.check(config)
        config, run = checked.config, checked.run
        table, network = self.table(config), self.network(config)
        checksums = {"weights": network.sha256, "table": table.sha256}
        method, grown = checked.method, False
        if begun := run.has_evaluations:
            grown = self._check_recorded(run, config, method, checksums)
        warm = find_warm_start(config, run, network.units)
        if not begun:
            if warm is not None:
                run.write_warm_start(warm)
            run.write_config(config, checksums, RULES, network.revision)
        splits = self.splits(config)
        if not begun or run.predictions.images("test") is None:  # not those of other settings
            run.predictions.write_images(
                _scored(table, splits.validation), _scored(table, splits.test)
            )
        state = SearchState(
            config,
            run,
            method,
            list(network.units),
            _task(config, run, share_table(table, Storage(self.storage)), network.weights),
            _card(config, table, network),
            early_stopping=self.early_stopping(method, config),
            guard=checked.lock.check,
            warm_start=warm,
            splits={name: len(rows) for name, rows in vars(splits).items()},
        )
        if grown:  # not before the ledger is known to be the beginning of the longer search
            run.record_growth(config.search.evaluations)
        return state

    def _check_recorded(
        self,
        run: RunDirectory,
        config: SearchConfig,
        method: Method,
        checksums: Mapping[str, str | None] = MappingProxyType({}),
    ) -> bool:
        """Whether the search has more evaluations now than its run directory records.

        Raises:
            UserError: it was run with other settings, or cannot have more evaluations.
        """
        grown = run.check_config(config, checksums, RULES)
        by_epochs = config.search.budget == "epochs"
        if grown and by_epochs and self.early_stopping(method, config) is not None:
            raise UserError(
                f"cannot grow in {run.uri}: under search.budget=epochs, evaluations at the end of "
                "a search are cut short; set it back, or choose another name",
                key="search.evaluations",
            )
        return grown

    def finished(self, config: SearchConfig) -> SearchResult | None:
        """The result of a search whose whole budget is spent, without loading what it ran on.

        Raises:
            UserError: it was run with other settings, or cannot have more evaluations.
        """
        run = RunDirectory.of(config)
        try:
            result = run.outcome()
            if result is None or result.evaluations != run.count_rows():
                return None  # an outcome also stands where its ledger was put away
            if not (result.spends(config.search.evaluations) and run.holds(result)):
                return None
        except UserError:  # the ledger still has all that is needed to write it again
            return None
        resolved, method = resolve(config)
        self._check_recorded(run, _with_recorded_fraction(resolved, run), method)
        return result

    def table(self, config: SearchConfig) -> Table:
        """The images of a search."""
        # Fractions divide a table, and make no other one.
        data = config.data.model_dump(exclude={"train_fraction"}, mode="json")
        if config.data.max_images is None:
            data.pop("seed")
        key = repr(data)
        if key not in self._tables:
            folder = tables_folder(self.storage)
            self._tables[key] = self.prepare_table(config.data, folder)
        return self._tables[key]

    def splits(self, config: SearchConfig) -> Splits:
        """The split of a search's images."""
        key = repr(config.data)
        if key not in self._splits:
            self._splits[key] = split_table(self.table(config), config.data)
        return self._splits[key]

    def network(self, config: SearchConfig) -> Network:
        """The units of a search's network, how it wants its images, and its weights to share.

        Raises:
            UserError: the model or its weights cannot be had.
            OSError: the storage is full or unreachable.
        """
        from revo_ray.finetune.network.weights import share_weights
        from revo_ray.finetune.training.assemble import load_network

        table = self.table(config)
        key = (config.model, len(table.classes), config.data.image_size)
        if key not in self._networks:
            backbone, units = load_network(config.model, config.data, config.train, table)
            if self.say is not None:
                for note in backbone.notes:
                    self.say(f"model.weights: {note}")
                if line := gpu_memory_line(config, backbone, table, self.splits(config)):
                    self.say(line)
            shared = None
            if backbone.loaded is not None:
                shared = share_weights(backbone.loaded, Storage(self.storage))
            self._networks[key] = Network(
                list(units),
                backbone.mean,
                backbone.std,
                backbone.weights_sha256,
                backbone.revision,
                shared,
            )
        return self._networks[key]


def resolve(config: SearchConfig) -> tuple[SearchConfig, Method]:
    """The configuration with all of its method's options, and the method.

    Raises:
        UserError: there is no such method, an option does not fit, or it cannot start warm.
    """
    method = make_method(config.method, config.plugins, config.train)
    check_warm_start(config, method)
    options = method.options.model_dump(mode="json")
    if "sweep" in options:  # recorded as it is, for whoever reads the run directory
        options["sweep"] = method.sweeps
    resolved = MethodConfig(name=method.name, **options)
    return config.model_copy(update={"method": resolved}), method


def _with_recorded_fraction(config: SearchConfig, run: RunDirectory) -> SearchConfig:
    """Take `auto` for the fraction that the search was started with, if it may stand for that."""
    if config.data.train_fraction != "auto":
        return config
    recorded = run.config().config.data.train_fraction
    return _with_fraction(config, recorded) if recorded in ("rest", DEFAULT_TRAIN) else config


def _with_fraction(config: SearchConfig, fraction: float | Literal["rest", "auto"]) -> SearchConfig:
    data = config.data.model_copy(update={"train_fraction": fraction})
    return config.model_copy(update={"data": data})


def _task(
    config: SearchConfig, run: RunDirectory, table: SharedFile, weights: SharedFile | None
) -> dict[str, Any]:
    return {
        "model": config.model.model_dump(mode="json"),
        "data": config.data.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json"),
        "table": asdict(table),
        "weights": None if weights is None else asdict(weights),
        "run": run.uri,
        "plugins": config.plugins,
        "plugin_path": plugin_path_for_workers(),
        "cpus": config.resources.cpus_per_trial,
        "device": config.resources.device,
    }


def _scored(table: Table, rows: NDArray[np.int64]) -> ScoredImages:
    groups = table.groups or [None] * len(table.labels)
    return ScoredImages(
        names=tuple(table.names[row] for row in rows),
        labels=table.labels[rows],
        groups=tuple(groups[row] for row in rows),
        classes=table.classes,
    )


def _card(config: SearchConfig, table: Table, network: Network) -> dict[str, Any]:
    return {
        "model": config.model.name,
        "classes": table.classes,
        "image_size": config.data.image_size,
        "mean": list(network.mean),
        "std": list(network.std),
        "intensity": table.intensity,
        "granularity": config.model.granularity,
        "units": [unit.name for unit in network.units],
    }
