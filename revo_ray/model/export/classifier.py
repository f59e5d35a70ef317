"""A model that answers: images as they are stored go in, logits come out, whatever its form."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from revo_ray.model.export.description import INPUT, OUTPUT, Description


class Classifier(Protocol):
    """One form of a model.

    Attributes:
        description: what it takes and answers.
    """

    description: Description

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (N, C) of images (N, 3, S, S)."""


class Normalised(nn.Module):
    """A network with the normalisation of its images in front.

    It maps images (N, 3, S, S), uint8 RGB, to logits (N, C) float32, by the operations of a
    fine-tuning in their order.

    Args:
        network: takes normalised images; in evaluation mode.
        description: has the normalisation.
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
        """See the class."""
        logits: Tensor = self.network(((images.float() / 255) - self.mean) / self.std)
        return logits.float()


class TorchClassifier:
    """A torch module that takes uint8 images.

    Args:
        module: such as `Normalised`.
        description: what it takes and answers.
        bf16: compute in automatic mixed precision.
    """

    def __init__(self, module: nn.Module, description: Description, *, bf16: bool = False) -> None:
        self.description = description
        self._module = module
        self._bf16 = bf16

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (N, C) of images (N, 3, S, S)."""
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=self._bf16),
        ):
            logits: NDArray[np.float32] = self._module(torch.from_numpy(images)).float().numpy()
        return logits


class OnnxClassifier:
    """An ONNX Runtime session, on the CPU.

    Args:
        session: of a file with an input `images` and an output `logits`.
        description: what it takes and answers.
    """

    def __init__(self, session: Any, description: Description) -> None:
        self.description = description
        self._session = session

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (N, C) of images (N, 3, S, S)."""
        (logits,) = self._session.run([OUTPUT], {INPUT: images})
        return np.asarray(logits, np.float32)
