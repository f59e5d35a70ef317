"""Pinning, memory, repeatability and resuming, where there is a GPU."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from revo_ray.data.table.image_table import prepare_table
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training import tuner as tuner_module
from revo_ray.finetune.training.assemble import load_tuner
from revo_ray.finetune.training.augment import Kind, augment, mix
from revo_ray.finetune.training.tuner import FineTuner
from revo_ray.settings.schema import SearchConfig
from tests.end_to_end.cli import ROOT, Cli
from tests.finetune.training.test_auto_augment import batch
from tests.finetune.tuners import equal

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
PRECISIONS = ["fp32", "tf32", "bf16"]


def tuner_on(device: str, folder: Path, *overrides: str) -> FineTuner:
    config = SearchConfig.load(None, [*SMALL, *overrides])
    table = prepare_table(config.data, folder)
    return load_tuner(config.model, config.data, config.train, table.path, device)


def outcome(tuner: FineTuner, rate: float = 0.01) -> dict[str, Tensor]:
    """All that a run leaves: weights, the losses and the validation logits."""
    *_, last = tuner.run(Plan((rate,) * len(tuner.units)))
    assert last.logits is not None
    found = {"logits": last.logits.cpu(), "loss": torch.tensor(last.train_loss)}
    return tuner.state_dict() | found


@pytest.mark.parametrize("network", ["timm/test_efficientnet", "timm/test_vit"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_runs_of_one_plan_agree_bit_for_bit(
    tmp_path: Path, precision: str, network: str
) -> None:
    options = (f"train.precision={precision}", "train.augment=trivial", "train.mixup=0.2")
    options += (f"model.name={network}",)
    tuner = tuner_on("cuda", tmp_path, *options)
    first = outcome(tuner)
    outcome(tuner, 0.003)
    assert equal(first, outcome(tuner))
    assert equal(first, outcome(tuner_on("cuda", tmp_path, *options)))


def test_images_that_do_not_fit_are_streamed_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = outcome(tuner_on("cuda", tmp_path))
    monkeypatch.setattr(tuner_module, "fits", lambda *_: False)
    assert equal(outcome(tuner_on("cuda", tmp_path)), resident)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_graphs_change_no_bit(tmp_path: Path, precision: str) -> None:
    options = (f"train.precision={precision}", "model.name=torchvision/resnet18")
    plain = tuner_on("cuda", tmp_path, *options)
    graphed = tuner_on("cuda", tmp_path, *options, "train.cuda_graphs=true")
    assert equal(outcome(plain), outcome(graphed))
    assert graphed._graphs.active, "no graph was captured, or its bits differ"
    assert equal(outcome(plain, 0.003), outcome(graphed, 0.003)), "one capture serves other rates"
    frozen = Plan((0.0, *[0.01] * (len(plain.units) - 1)))
    for tuner in (plain, graphed):
        list(tuner.run(frozen))
    assert equal(plain.state_dict(), graphed.state_dict()), "a plan that freezes takes none"


def test_a_network_that_draws_on_the_gpu_takes_no_graph(tmp_path: Path) -> None:
    options = ("model.name=torchvision/mobilenet_v3_small",)  # it has dropout
    plain = tuner_on("cuda", tmp_path, *options)
    graphed = tuner_on("cuda", tmp_path, *options, "train.cuda_graphs=true")
    assert equal(outcome(plain), outcome(graphed))
    assert not graphed._graphs.active


def test_a_network_that_reads_from_the_gpu_takes_no_graph(tmp_path: Path) -> None:
    """CUDA refuses the capture; later work goes on as if nothing had been tried."""
    plain = tuner_on("cuda", tmp_path)
    expected = outcome(plain)
    graphed = tuner_on("cuda", tmp_path, "train.cuda_graphs=true")

    def read(model: Any, images: Any, logits: Tensor) -> None:
        logits.sum().item()

    graphed.model.register_forward_hook(read)
    usual = torch.cuda.current_stream()
    assert equal(outcome(graphed), expected)
    assert not graphed._graphs.active
    assert torch.cuda.current_stream() == usual


def test_the_gpu_agrees_with_the_cpu(tmp_path: Path) -> None:
    losses = []
    for device in ("cuda", "cpu"):
        tuner = tuner_on(device, tmp_path)
        *_, last = tuner.run(Plan((0.01,) * len(tuner.units)))
        losses.append(last.validation.loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_run_leaves_the_settings_of_the_process_as_they_were(
    tmp_path: Path, precision: str
) -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    outcome(tuner_on("cuda", tmp_path, f"train.precision={precision}"))
    after = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    assert after == before
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("streamed", [False, True])
def test_no_step_waits_for_the_device(
    tmp_path: Path, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But the last one of an epoch, which reads the loss."""
    if streamed:
        monkeypatch.setattr(tuner_module, "fits", lambda *_: False)
    tuner = tuner_on("cuda", tmp_path, "train.augment=crop-flip", "train.clip_norm=1")
    outcome(tuner)  # loads kernels
    tuner.begin((0.01,) * len(tuner.units))
    optimizer = tuner._optimizer
    assert optimizer is not None
    parts = tuner.order.split(16)
    tuner.feeds["train"].announce(parts)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for part in parts:
            optimizer.zero_grad()
            tuner._loss_of_images(part).backward()
            optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kind", ["flip", "crop-flip", "trivial", "randaugment"])
def test_no_augmentation_waits_for_the_device(kind: Kind) -> None:
    images, generator = batch(64).cuda(), torch.Generator().manual_seed(0)
    labels = torch.zeros(64, dtype=torch.long, device="cuda")
    expected = augment(images.cpu(), kind, torch.Generator().manual_seed(0))
    results = augment(images, kind, generator)  # the first call loads kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            mix(augment(images, kind, generator).float(), labels, 3, 1.0, 1.0, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (results.cpu() != expected).float().mean() < 1e-3


def test_a_diverging_run_is_noticed_and_the_next_one_is_unaffected(tmp_path: Path) -> None:
    tuner = tuner_on("cuda", tmp_path)
    before = outcome(tuner)
    *_, wild = tuner.run(Plan((1e6,) * len(tuner.units)))
    assert wild.diverged
    assert equal(outcome(tuner), before)


def test_out_of_memory_is_raised_as_such_and_the_next_run_is_unaffected(tmp_path: Path) -> None:
    tuner = tuner_on("cuda", tmp_path)
    before = outcome(tuner)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.0)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            outcome(tuner)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert equal(outcome(tuner), before)


def search(cli: Cli, name: str, *options: str) -> Any:
    sets = {"resources__gpus_per_trial": "0.5", "resources__max_concurrent": "2"}
    return cli.start("search", *options, name=name, **sets)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_evaluation_says_its_gpu_and_a_killed_search_ends_as_another(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    try:
        for name in ("whole", "killed"):
            process = search(cli, name)
            if name == "killed":
                cli.wait_for_rows(name, 4, process)
                cli.kill(process)
                process = search(cli, name, "--resume")
            out, err = process.communicate(timeout=600)
            assert process.returncode == 0, out + err
    finally:
        cli.close()
    assert cli.facts("whole") == cli.facts("killed")
    devices = {row.device for row in cli.ledger("whole")}
    assert all(re.fullmatch(r"cuda:\d+ fp32", device) for device in devices), devices
    assert len(devices) <= torch.cuda.device_count()


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_benchmark_has_every_figure() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert not any("error" in line for line in lines), lines
    assert done.returncode == 0, done.stderr
