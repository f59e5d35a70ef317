"""The totals of a dry run, against sums made here, and the training step that it times."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from revo_ray.data.table.image_table import prepare_table
from revo_ray.finetune.training import tuner
from revo_ray.search.core import dry_run
from revo_ray.search.core.dry_run import DryRun
from revo_ray.search.core.prepare import Preparation
from revo_ray.search.ray.halving import make_halving
from revo_ray.settings.schema import ResourcesConfig, SearchConfig

SMALL = (
    *("model.name=timm/test_byobnet", "model.weights=none", "data.image_size=16"),
    *("data.max_images=200", "train.batch_size=8", "search.evaluations=7"),
)
STEP = 0.25
"""Seconds of every step, where a test does not time it."""


@pytest.fixture
def dry(tmp_path: Path) -> Iterator[DryRun]:
    with ExitStack() as stack:
        yield DryRun(
            Preparation(
                str(tmp_path),
                False,
                stack,
                prepare_table=prepare_table,
                early_stopping=make_halving,
                say=notes.append,
            )
        )
    notes.clear()


notes: list[str] = []


def config_of(dry: DryRun, *overrides: str) -> SearchConfig:
    storage = f"storage={dry.preparation.storage}"
    return SearchConfig.load(None, [storage, *SMALL, *overrides])


def test_nothing_is_counted_before_a_search_is_added(dry: DryRun) -> None:
    assert (dry.evaluations, dry.epochs, dry.images, dry.seconds) == (0, 0, 0, 0)
    assert dry.workers == 1


@pytest.mark.parametrize(
    ("settings", "validations", "precise"),
    [
        ((), 1, True),
        (("train.batch_norm=running",), 1, False),
        (("train.validate_epochs=every",), 3, True),
        (("method.name=full",), 3, True),  # successive halving compares each epoch
        (("method.name=full", "method.halving=none"), 1, True),
    ],
)
def test_totals_are_those_of_all_evaluations(
    dry: DryRun,
    monkeypatch: pytest.MonkeyPatch,
    settings: tuple[str, ...],
    validations: int,
    precise: bool,
) -> None:
    """A step takes three forward passes; validation and statistics take one an image."""
    monkeypatch.setattr(dry_run, "_time_step", lambda *_: STEP)
    config = config_of(dry, "train.epochs=3", *settings)
    dry.add(config)
    dry.add(config.model_copy(update={"name": "second"}))
    (cell,) = dry.cells.values()
    train, validation, _ = cell.splits
    assert (cell.searches, cell.fraction, cell.images) == (2, 0.05, "digits")
    assert (dry.evaluations, dry.epochs, dry.images) == (14, 42, 42 * train)
    seen = validations * (validation + train * precise)
    assert dry.seconds == pytest.approx(14 * STEP / 8 * (3 * train + seen / 3))
    assert dry.steps == {"timm/test_byobnet": (STEP, 8)}


def test_each_network_is_timed_once_for_each_kind_of_step(
    dry: DryRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[int] = []
    monkeypatch.setattr(
        dry_run, "_time_step", lambda config, *_: timed.append(config.train.batch_size) or STEP
    )
    for seed in (0, 1):
        for size in (4, 8):
            dry.add(config_of(dry, f"data.seed={seed}", f"train.batch_size={size}"))
    assert timed == [4, 8]
    assert [cell.searches for cell in dry.cells.values()] == [4]


def test_a_search_with_a_promised_time_is_not_timed_again(
    dry: DryRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "_time_step", lambda *_: pytest.fail("timed a step"))
    dry.promised = 60.0
    dry.add(config_of(dry))
    assert dry.evaluations == 7
    assert dry.steps == {}


def test_a_note_on_a_weight_file_is_said(
    dry: DryRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "_time_step", lambda *_: STEP)
    weights = timm.create_model("test_byobnet").state_dict()
    torch.save({"state_dict": weights, "state_dict_ema": weights}, tmp_path / "two.pth")
    dry.add(config_of(dry, f"model.weights={tmp_path / 'two.pth'}"))
    assert all(note.startswith("model.weights: ") for note in notes)
    assert any("state_dict_ema" in note for note in notes)


def test_a_step_is_timed_between_two_epochs_with_the_threads_of_a_trial(
    dry: DryRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    init = tuner.FineTuner.__init__

    def spy(self: Any, *arguments: Any, **options: Any) -> None:
        seen.append((torch.get_num_threads(), options["device"]))
        init(self, *arguments, **options)

    monkeypatch.setattr(tuner.FineTuner, "__init__", spy)
    before = torch.get_num_threads()
    other = 2 if before == 1 else 1
    dry.add(config_of(dry, f"resources.cpus_per_trial={other}", "resources.device=cpu"))
    assert seen == [(other, torch.device("cpu"))]
    assert torch.get_num_threads() == before
    ((seconds, images),) = dry.steps.values()
    assert (seconds > 0, images) == (True, 8)


@pytest.mark.parametrize(
    ("resources", "cores", "workers"),
    [
        ({}, 4, 4),
        ({"cpus_per_trial": 2}, 4, 2),
        ({"cpus_per_trial": 3}, 4, 1),
        ({"cpus_per_trial": 8}, 4, 1),  # it waits for a larger machine; nothing is divided by 0
        ({"max_concurrent": 3}, 4, 3),
        ({"max_concurrent": 9}, 4, 4),
    ],
)
def test_workers_are_those_that_the_cores_hold(
    monkeypatch: pytest.MonkeyPatch, resources: dict[str, int], cores: int, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert dry_run._workers(ResourcesConfig(**resources)) == workers


@pytest.mark.parametrize(
    ("gpus", "per_trial", "workers"),
    [(2, "auto", 2), (2, 1, 2), (2, 0.5, 4), (2, 0.4, 4), (3, 0.6, 3), (8, 0.3, 24), (2, 0, 64)],
)
def test_workers_are_those_that_whole_gpus_hold(
    monkeypatch: pytest.MonkeyPatch, gpus: int, per_trial: float | str, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    resources = ResourcesConfig.model_validate({"gpus_per_trial": per_trial})
    assert dry_run._workers(resources) == workers


def test_memory_is_said_where_evaluations_share_a_gpu(
    dry: DryRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "_time_step", lambda *_: STEP)
    monkeypatch.setattr(dry_run, "_gpu_bytes", lambda: None)
    apart = [("auto", "auto"), ("0", "auto"), ("1", "auto"), ("0.5", "cpu")]
    for gpus, device in apart:
        dry.add(config_of(dry, f"resources.gpus_per_trial={gpus}", f"resources.device={device}"))
    assert dry.gpu_memory == {}
    shared = config_of(dry, "resources.gpus_per_trial=0.33", "data.image_size=32")
    dry.add(shared)
    (line,) = dry.gpu_memory.values()
    found = re.fullmatch(
        r"timm/test_byobnet, GPU memory, estimated: (\S+) GB an evaluation \(weights (\S+), "
        r"activations (\S+), features 0\.07, images (\S+), context 0\.50\), (\S+) GB for the 3 "
        r"that share a GPU",
        line,
    )
    assert found
    each, weights, activations, images, all_three = map(float, found.groups())
    assert each == pytest.approx(weights + activations + images + 0.57, abs=0.03)
    assert all_three == pytest.approx(3 * each, abs=0.02)
    dry.preparation.network(shared)  # as a search begins
    assert notes == [line]


def test_a_gpu_that_is_too_small_for_all_is_said(
    dry: DryRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "_time_step", lambda *_: STEP)
    for size, said in ((10**9, True), (10**11, False)):
        monkeypatch.setattr(dry_run, "_gpu_bytes", lambda size=size: size)
        dry.add(config_of(dry, "resources.gpus_per_trial=0.5", f"train.batch_size={size % 7 + 4}"))
        (line,) = dry.gpu_memory.values()
        assert (
            line.endswith("raise resources.gpus_per_trial (0.5) or lower train.batch_size") == said
        )
        dry.gpu_memory.clear()
