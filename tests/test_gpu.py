"""Fine-tuning on a GPU: it can be repeated, and agrees with the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from revo_ray.data.table.image_table import prepare_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training import tuner as tuner_module
from revo_ray.finetune.training.assemble import load_tuner
from revo_ray.settings.schema import SearchConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SMALL = [
    "model.name=timm/test_efficientnet",
    "model.weights=none",
    "data.image_size=32",
    "train.epochs=2",
]


def last_loss(folder: Path, device: str, plan: Plan | None = None, *overrides: str) -> float:
    config = SearchConfig.load(None, [*SMALL, *overrides])
    table = prepare_table(config.data, folder)
    tuner = load_tuner(config.model, config.data, config.train, table.path, device)
    *_, last = tuner.run(plan or Plan((0.01,) * len(tuner.units)))
    assert last.validation.loss is not None
    return last.validation.loss


def test_two_runs_of_one_plan_agree_bit_for_bit(tmp_path: Path) -> None:
    assert last_loss(tmp_path, "cuda") == last_loss(tmp_path, "cuda")


def test_images_that_do_not_fit_are_streamed_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = last_loss(tmp_path, "cuda")
    monkeypatch.setattr(tuner_module, "fits", lambda *_: False)
    assert last_loss(tmp_path, "cuda") == resident


def test_the_gpu_agrees_with_the_cpu(tmp_path: Path) -> None:
    assert last_loss(tmp_path, "cuda") == pytest.approx(last_loss(tmp_path, "cpu"), rel=1e-2)


def test_a_diverging_run_is_noticed_and_the_next_one_is_unaffected(tmp_path: Path) -> None:
    config = SearchConfig.load(None, SMALL)
    table = prepare_table(config.data, tmp_path)
    tuner = load_tuner(config.model, config.data, config.train, table.path, "cuda")
    plan = Plan((0.01,) * len(tuner.units))
    *_, before = tuner.run(plan)
    *_, wild = tuner.run(Plan((1e6,) * len(tuner.units)))
    *_, after = tuner.run(plan)
    assert wild.diverged
    assert after.validation == before.validation


def test_bf16_trains(tmp_path: Path) -> None:
    assert last_loss(tmp_path, "cuda", None, "train.precision=bf16") < 10
