"""Switches of the whole process are set while a GPU computes, and put back."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from revo_ray.finetune.training.numerics import Precision, memory_format, numerics
from tests.finetune.tuners import make_model

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


def settings() -> dict[str, Any]:
    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
        "benchmark": torch.backends.cudnn.benchmark,
        "matmul": torch.backends.cuda.matmul.allow_tf32,
        "convolutions": torch.backends.cudnn.allow_tf32,
        "workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "flash": torch.backends.cuda.flash_sdp_enabled(),
        "efficient": torch.backends.cuda.mem_efficient_sdp_enabled(),
        "cudnn attention": torch.backends.cuda.cudnn_sdp_enabled(),
    }


@pytest.mark.parametrize(
    ("precision", "products"), [("fp32", False), ("tf32", True), ("bf16", False)]
)
def test_both_switches_are_set_and_all_is_put_back(precision: Precision, products: bool) -> None:
    before = settings()
    with numerics(GPU, precision):
        inside = settings()
        with numerics(GPU, precision):
            assert settings() == inside
        assert settings() == inside
    assert settings() == before
    with pytest.raises(KeyError), numerics(GPU, precision):
        raise KeyError
    assert inside["matmul"] == inside["convolutions"] == products
    assert inside["deterministic"]
    assert not inside["fill"]
    assert not inside["benchmark"]
    assert not any(inside[kernel] for kernel in ("flash", "efficient", "cudnn attention"))
    assert inside["workspace"] == ":4096:8"
    assert settings() == before


def test_a_workspace_of_the_users_own_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with numerics(GPU, "fp32"):
        assert settings()["workspace"] == ":16:8"
    assert settings()["workspace"] == ":16:8"


def test_on_a_cpu_nothing_is_set() -> None:
    before = settings()
    with numerics(CPU, "tf32"):
        assert settings() == before


@pytest.mark.parametrize(
    ("name", "device", "precision", "last"),
    [
        ("resnet10", GPU, "bf16", True),
        ("resnet10", GPU, "tf32", True),
        ("resnet10", GPU, "fp32", False),
        ("resnet10", CPU, "bf16", False),
    ],
)
def test_channels_are_last_for_tensor_cores(
    name: str, device: torch.device, precision: Precision, last: bool
) -> None:
    expected = torch.channels_last if last else torch.contiguous_format
    assert memory_format(make_model(name), device, precision) == expected
