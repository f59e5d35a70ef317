"""The programs that measure a training: each runs, tiny, and prints one JSON line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from revo_ray.finetune.network.backbone import load_backbone
from tests.data.layouts import fashion_mnist_files, unpacked

ROOT = Path(__file__).parents[2]


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{program}", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )


def line(program: str, *arguments: str) -> dict[str, Any]:
    done = run(program, *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_gpu_is_ready_to_run() -> None:
    found = line("gpu", "--smoke")
    assert found["smoke"]
    figures = [
        *found["images_per_second"]["32px_fp32"].values(),
        *found["trials_per_minute"]["32px"]["processes"].values(),
    ]
    assert len(figures) == 4
    assert all(isinstance(figure, float) and figure > 0 for figure in figures)


def test_gpu_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run("gpu")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_worker_does_not_grow() -> None:
    """On a small network: a copy of its weights kept each time would be 40 MB."""
    found = line(
        *("memory", "--model", "torchvision/mobilenet_v3_small", "--evaluations", "16"),
        *("--epochs", "1"),
    )
    assert found["growth_mb"] < 30


def test_the_fused_update_is_the_faster_one() -> None:
    found = line("step", "--turns", "5", "--batch", "4")
    assert found["update_over_plain"]["adamw_fused"] < 0.8
    assert 0 < found["step_over_plain"]["half_frozen"] < 1


def test_precise_statistics_are_the_better_ones(tmp_path: Path) -> None:
    """On average: which of two is better for one seed depends on the kind of CPU."""
    found = line(
        *("batch_norm", "--data", "digits", "--seeds", "3", "--rates", "0.003"),
        *("--tables", str(tmp_path)),
    )
    losses = {kind: scores["loss"] for kind, scores in found["digits at 0.003"].items()}
    assert 0 < losses["precise"] < losses["running"] < 2
    assert found["precise_is_better"] in ("2 of 3", "3 of 3")


def test_a_head_on_kept_features() -> None:
    found = line("head", "--model", "timm/test_byobnet", "--epochs", "6", "--turns", "3")
    assert found["evaluations_an_hour"] > 5
    assert found["losses"][0] == pytest.approx(found["losses"][1], abs=0.05)


def test_a_network_is_pretrained_and_can_be_searched(tmp_path: Path) -> None:
    root = unpacked(fashion_mnist_files(train=300, test=40), tmp_path / "fashion")
    arguments = ("--epochs", "1", "--root", str(root))
    found = line("pretrain", str(tmp_path), *arguments)
    assert found["test_images"] == 40
    backbone = load_backbone("timm/test_byobnet", found["weights"], 10, seed=0, image_size=16)
    ours = backbone.model.state_dict()
    trained = load_file(found["weights"])
    same = {name for name in ours if torch.equal(ours[name], trained[name])}
    assert set(ours) - same == {"head.fc.weight", "head.fc.bias"}  # the head is new
    again = line("pretrain", str(tmp_path / "again"), *arguments)
    assert all(torch.equal(trained[k], v) for k, v in load_file(again["weights"]).items())


def test_cures_for_luck() -> None:
    found = line(
        *("luck", "--seeds", "0", "--trainings", "24", "--plans", "4"),
        *("--set", "model.weights=none", "data.max_images=400", "train.epochs=3"),
    )
    assert set(found["searches"]) == {"1 seed", "2 seeds", "4 seeds", "second look"}
    for way in found["searches"].values():
        assert 0 < way["selected"] < 3
        assert 0 < way["again"] < 10
    for schedule in ("cosine", "constant"):
        weights = found["weights"][schedule]
        assert weights["better"]["last"] == 0
        assert weights["plans"] == 4
        assert weights["mean"]["last"] != weights["mean"]["mean of 2"] > 0


def test_a_choice_is_measured_with_what_it_is_compared_with(tmp_path: Path) -> None:
    """A study under other keys."""
    done = run(
        *("ablations", str(tmp_path / "out"), "--only", "ten-epochs", "--seeds", "0"),
        *("--runs", str(tmp_path / "runs"), "--set", "model.weights=none"),
        *("data.max_images=400", "train.epochs=1", "search.evaluations=2"),
    )
    assert done.returncode == 0, done.stderr
    *_, row = done.stdout.splitlines()
    assert row == (tmp_path / "out" / "table.md").read_text().splitlines()[-1]
    _, label, *figures, _ = row.split("|")
    assert label.strip() == "ten-epochs"
    assert all(0 < float(figure) <= 100 for figure in figures)
    assert len(figures) == 4
    assert (tmp_path / "out" / "searches.csv").read_text().count("ten-epochs") == 2
