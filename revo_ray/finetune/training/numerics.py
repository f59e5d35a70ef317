"""Repeatable kernels of a GPU, and the precision of its convolutions and matrix products."""

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
_repeatable: Any = torch.utils.deterministic
_attention: Any = torch.backends.cuda
_FUSED_ATTENTION = (
    (_attention.flash_sdp_enabled, _attention.enable_flash_sdp),
    (_attention.mem_efficient_sdp_enabled, _attention.enable_mem_efficient_sdp),
    (_attention.cudnn_sdp_enabled, _attention.enable_cudnn_sdp),
)


@contextmanager
def numerics(device: torch.device, precision: Precision) -> Iterator[None]:
    """Set torch's switches of the whole process for a GPU inside the block, and put them back.

    - Kernels are repeatable wherever CUDA has such a kernel: two runs of one plan on one kind of
      GPU agree. Attention takes the plain kernel, since the fused ones do not repeat. New tensors
      are not filled: nothing here reads memory that was not written.
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
        matmul=torch.backends.cuda.matmul.allow_tf32,
        convolutions=torch.backends.cudnn.allow_tf32,
        workspace=os.environ.get(_WORKSPACE),
        attention=tuple(enabled() for enabled, _ in _FUSED_ATTENTION),
    )
    products = precision == "tf32"
    workspace = before.workspace or ":4096:8"
    plain = (False,) * len(_FUSED_ATTENTION)
    _Numerics(True, True, False, False, products, products, workspace, plain).set()
    try:
        yield
    finally:
        before.set()


@dataclass(frozen=True)
class _Numerics:
    """Switches that torch, cuDNN and cuBLAS keep for the whole process."""

    deterministic: bool
    warn_only: bool
    fill: bool
    benchmark: bool
    matmul: bool
    convolutions: bool
    workspace: str | None
    attention: tuple[bool, ...]

    def set(self) -> None:
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)
        _repeatable.fill_uninitialized_memory = self.fill
        torch.backends.cudnn.benchmark = self.benchmark
        # Not `fp32_precision`: where that is set for convolutions alone, reading `allow_tf32`
        # fails, as torch.export and others do.
        torch.backends.cuda.matmul.allow_tf32 = self.matmul
        torch.backends.cudnn.allow_tf32 = self.convolutions
        for (_, enable), wanted in zip(_FUSED_ATTENTION, self.attention, strict=True):
            enable(wanted)
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
