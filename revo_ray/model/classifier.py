"""Models in any form as one interface: uint8 images in, logits out."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from revo_ray.model.description import INPUT, OUTPUT, Description


class Classifier(Protocol):
    """A model, in one of its forms.

    Attributes:
        description: its input and output.
    """

    description: Description

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute logits (N, C) of images (N, 3, S, S)."""


class Normalised(nn.Module):
    """A network that normalises its images first.

    It maps images (N, 3, S, S), uint8 RGB, to logits (N, C), float32. Its operations are those of
    a fine-tuning, in the same order.

    Args:
        network: maps normalised images to logits; in evaluation mode.
        description: holds the mean and std.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, description: Description) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(description.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(description.std).view(1, 3, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (N, C) of images (N, 3, S, S)."""
        logits: Tensor = self.network(((images.float() / 255) - self.mean) / self.std)
        return logits.float()


class TorchClassifier:
    """A torch module that takes uint8 images.

    Args:
        module: maps uint8 images to logits, as `Normalised` does.
        description: its input and output.
        bf16: compute in automatic mixed precision.
    """

    def __init__(self, module: nn.Module, description: Description, *, bf16: bool = False) -> None:
        self.description = description
        self._module = module
        self._bf16 = bf16

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute logits (N, C) of images (N, 3, S, S)."""
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            logits: NDArray[np.float32] = self._module(torch.from_numpy(images)).float().numpy()
        return logits


class OnnxClassifier:
    """An ONNX Runtime session on the CPU.

    Args:
        session: has an input `images` and an output `logits`.
        description: its input and output.
    """

    def __init__(self, session: Any, description: Description) -> None:
        self.description = description
        self._session = session

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute logits (N, C) of images (N, 3, S, S)."""
        (logits,) = self._session.run([OUTPUT], {INPUT: images})
        return np.asarray(logits, np.float32)
