"""The time of a training step: a median of a few, and errors that name a key."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from revo_ray.data.splits.split import Splits
from revo_ray.errors import UserError
from revo_ray.finetune.training import step_time
from revo_ray.finetune.training.assemble import load_network
from revo_ray.finetune.training.exhausted import StepMemoryError
from revo_ray.finetune.training.loop import Epoch
from revo_ray.finetune.training.step_time import TIMED, time_step, time_steps
from revo_ray.objective import Scores
from revo_ray.settings.schema import DataConfig, ModelConfig, TrainConfig

NETWORK = "timm/test_efficientnet"
TRAIN = TrainConfig(batch_size=4)


def seconds(poisoned: bool = False) -> float:
    table = step_time._table(4, 2, 32)
    model, data = ModelConfig(name=NETWORK, weights="none"), DataConfig(image_size=32)
    backbone, units = load_network(model, data, TRAIN, table)
    if poisoned:
        with torch.no_grad():
            next(backbone.model.parameters()).fill_(torch.nan)
    rows = np.arange(4)
    return time_step(backbone, units, table, Splits(rows, rows[:1], rows[:1]), TRAIN, "cpu")


def test_a_network_without_a_finite_loss_is_refused_at_its_first_step() -> None:
    with pytest.raises(UserError, match=r"^model\.weights: .* no finite loss"):
        seconds(poisoned=True)


def test_one_disturbed_step_does_not_change_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step is slow by nature, and another program disturbs the second."""
    took = [9.0, 5.0, *[0.25] * (TIMED - 1), 7.0]
    epochs = [
        Epoch(n + 1, 0.5, Scores(), 4, sum(took[: n + 1]), diverged=False) for n in range(len(took))
    ]
    monkeypatch.setattr(step_time.FineTuner, "run", lambda *_: iter(epochs))
    assert seconds() == 0.25


def test_all_sizes_are_timed_that_the_network_takes() -> None:
    assert set(time_steps(NETWORK, 2, [32, 48], TRAIN, torch.device("cpu"))) == {32, 48}


def test_a_batch_beyond_the_memory_names_the_keys_to_lower() -> None:
    with pytest.raises(StepMemoryError, match=r"^train\.batch_size: .* data\.image_size \(64\)"):
        time_steps(NETWORK, 2, [64], TrainConfig(batch_size=10**9), torch.device("cpu"))
