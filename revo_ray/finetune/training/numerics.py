"""How a GPU computes: repeatable kernels, and the precision of convolutions and matrix products."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

Precision = Literal["fp32", "tf32", "bf16"]

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
_repeatable: Any = torch.utils.deterministic


@contextmanager
def numerics(device: torch.device, precision: Precision) -> Iterator[None]:
    """Set on a GPU inside the block what torch keeps for the whole process; it is put back after.

    - Kernels are repeatable wherever CUDA has such a kernel: two runs of one plan on one kind of
      GPU agree. New tensors are not filled for it: nothing here reads memory that was not written.
    - cuDNN's convolutions and the matrix products compute in one precision. By default torch's
      convolutions use TF32, and its matrix products do not.

    On a CPU nothing is set: all three compute in float32 there, but for autocast in bf16.
    """
    if device.type != "cuda":
        yield
        return
    before = _Numerics(
        deterministic=torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        fill=_repeatable.fill_uninitialized_memory,
        benchmark=torch.backends.cudnn.benchmark,
        matmul=torch.backends.cuda.matmul.fp32_precision,
        convolutions=_convolutions.fp32_precision,
        workspace=os.environ.get(_WORKSPACE),
    )
    products = "tf32" if precision == "tf32" else "ieee"
    workspace = before.workspace or ":4096:8"
    _Numerics(True, True, False, False, products, products, workspace).set()
    try:
        yield
    finally:
        before.set()


@dataclass(frozen=True)
class _Numerics:
    """What torch, cuDNN and cuBLAS keep for the whole process."""

    deterministic: bool
    warn_only: bool
    fill: bool
    benchmark: bool
    matmul: str
    convolutions: str
    workspace: str | None

    def set(self) -> None:
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)
        _repeatable.fill_uninitialized_memory = self.fill
        torch.backends.cudnn.benchmark = self.benchmark
        torch.backends.cuda.matmul.fp32_precision = self.matmul
        _convolutions.fp32_precision = self.convolutions
        if self.workspace is None:
            os.environ.pop(_WORKSPACE, None)
        else:
            os.environ[_WORKSPACE] = self.workspace


def memory_format(
    model: nn.Module, device: torch.device, precision: Precision
) -> torch.memory_format:
    """The order in memory that is fastest for a network: channels last for tensor cores.

    Those of a GPU multiply in TF32 and bf16 with the channels of a pixel side by side; in another
    order cuDNN moves every image twice.
    """
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    if device.type == "cuda" and precision != "fp32" and convolves:
        return torch.channels_last
    return torch.contiguous_format
