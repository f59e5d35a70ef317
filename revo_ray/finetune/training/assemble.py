"""From a configuration to a `FineTuner`: device, threads, table, network, units."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from revo_ray.data.table.image_table import Table, split_table
from revo_ray.finetune.network.backbone import Backbone, check_image_size, load_backbone
from revo_ray.finetune.network.first_use import find_first_use
from revo_ray.finetune.network.units import Unit, find_units
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import DataConfig, ModelConfig, TrainConfig


def load_network(
    model: ModelConfig,
    data: DataConfig,
    train: TrainConfig,
    table: Table,
    weights_file: Path | None = None,
) -> tuple[Backbone, list[Unit]]:
    """The pretrained network with a head for the table's classes, and its units.

    Args:
        model, data, train: sections of the configuration.
        table: the images.
        weights_file: a copy of the weights, read in place of those that `model` names.

    Raises:
        UserError: the model or its weights cannot be had, or it cannot take the images whole.
    """
    backbone = load_backbone(
        model.name,
        model.weights,
        len(table.classes),
        seed=train.seed,
        image_size=data.image_size,
        file=weights_file,
        sha256=model.sha256 if weights_file is None else None,  # a copy has its own, see `fetch`
    )
    use = find_first_use(backbone.model, data.image_size)
    check_image_size(backbone, data.image_size, use)
    return backbone, find_units(backbone.model, model.granularity, backbone.head, use)


def load_tuner(
    model: ModelConfig,
    data: DataConfig,
    train: TrainConfig,
    table_path: str | Path,
    device: torch.device | str = "cpu",
    weights_file: Path | None = None,
) -> FineTuner:
    """Everything for one evaluation, ready to run plans. `load_network` has the arguments.

    Raises:
        UserError: the table, the model or its weights cannot be had.
    """
    table = Table.open(Path(table_path))
    backbone, units = load_network(model, data, train, table, weights_file)
    return FineTuner(backbone, units, table, split_table(table, data), train, device=device)


def use_threads(count: int) -> None:
    """Set torch's number of threads in this process, at most one for each core."""
    count = min(count, os.cpu_count() or count)
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def pick_device(wanted: str, holds_gpu: bool) -> torch.device:
    """The first GPU that this process sees, if it holds one and wants it; else the CPU."""
    uses_gpu = wanted != "cpu" and holds_gpu and torch.cuda.is_available()
    return torch.device("cuda", 0) if uses_gpu else torch.device("cpu")
