"""`revo-ray train`: fine-tune once under a known plan, without Ray."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from revo_ray.credentials import refuse_credentials
from revo_ray.data.shared_files import tables_folder
from revo_ray.data.table.image_table import Table, prepare_table, split_table
from revo_ray.errors import SearchError, UserError
from revo_ray.finetune.network import UNIT_RULES
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.assemble import load_network, pick_device, use_threads
from revo_ray.finetune.training.loop import Epoch
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.methods import find_policy
from revo_ray.objective import Scores
from revo_ray.rundir.recorded_config import check_plan
from revo_ray.settings.safe_json import read_json
from revo_ray.settings.schema import DataConfig, SearchConfig
from revo_ray.storage import Storage


@dataclass(frozen=True)
class Trained:
    """A model fine-tuned under a plan.

    Attributes:
        tuner: the fine-tuner, which holds the weights.
        validation: scores on the validation images; None if the model was trained on them.
        test: scores on the test images.
        mean, std: normalisation of RGB in [0, 1].
    """

    tuner: FineTuner
    validation: Scores | None
    test: Scores
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_plan(path: str | Path) -> Plan:
    """Read a `plan.json`.

    Args:
        path: a local path, or a URI that `pyarrow.fs` opens.

    Raises:
        UserError: it cannot be read, is not a plan, or lies in a run directory whose units were
            made under other rules.
    """
    uri = str(path)
    local = Path(os.path.expanduser(uri))
    refuse_credentials(uri, "--plan")
    try:
        text = Storage(uri).read("") if "://" in uri else local.read_bytes()
        plan = Plan.from_json(read_json(text))
    except UserError:
        raise UserError(f"cannot read the plan {uri!r}: no file system opens that URI") from None
    except OSError as error:
        raise UserError(f"cannot read the plan {uri!r}: {error.strerror or error}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{uri!r} is not a plan: {error}") from None
    check_plan(uri if "://" in uri else str(local.resolve()), UNIT_RULES)
    return plan


def train_plan(
    config: SearchConfig,
    plan: Plan,
    *,
    with_validation: bool = False,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    prepare_table: Callable[[DataConfig, Path], Table] = prepare_table,
    say: Callable[[str], None] = lambda line: None,
) -> Trained:
    """Fine-tune under a plan exactly as an evaluation of a search does, and test the model.

    Args:
        config: model, data and training.
        plan: learning rates for the units of that model.
        with_validation: train on the validation images too; they are then not scored.
        on_epoch: called after each epoch.
        prepare_table: reads and decodes the images into a table in a folder.
        say: told in a line what of a weight file is not loaded.

    Raises:
        UserError: the configuration or the data is wrong, or the plan is for another network.
        SearchError: the training diverged.
    """
    use_threads(config.resources.cpus_per_trial)
    table = prepare_table(config.data, tables_folder(config.storage))
    splits = split_table(table, config.data)
    if with_validation:
        splits = replace(splits, train=np.sort(np.concatenate([splits.train, splits.validation])))
    backbone, units = load_network(config.model, config.data, config.train, table)
    for note in backbone.notes:
        say(f"model.weights: {note}")
    if len(plan.unit_lrs) != len(units):
        raise UserError(
            f"the plan has {len(plan.unit_lrs)} units, but {config.model.name} has {len(units)} "
            f"at granularity {config.model.granularity}"
        )
    device = pick_device(config.resources.device, torch.cuda.is_available())
    tuner = FineTuner(backbone, units, table, splits, config.train, device=device)
    try:
        epochs = tuner.run(plan, find_policy(plan, config.plugins))
    except ValueError as error:
        raise UserError(f"this plan cannot be run: {error}") from None
    for epoch in epochs:
        on_epoch(epoch)
        if epoch.diverged:
            raise SearchError(f"the training diverged in epoch {epoch.epoch} under this plan")
    validation = None if with_validation else tuner.evaluate("validation")
    return Trained(tuner, validation, tuner.evaluate("test"), backbone.mean, backbone.std)
