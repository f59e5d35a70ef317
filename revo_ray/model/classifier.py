"""Models in any form as one interface: uint8 images in, logits out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from revo_ray.model.description import Description


@dataclass(frozen=True)
class Classifier:
    """A model, in one of its forms.

    Attributes:
        description: its input and output.
        logits: computes logits (N, C), float32, of images (N, 3, S, S), uint8 RGB.
        module: the torch module that maps these images to logits; None if torch does not run it.
    """

    description: Description
    logits: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    module: nn.Module | None = None


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


class Averaged(nn.Module):
    """An ensemble: it gives the logarithm of the weighted mean of its members' probabilities.

    Softmax of that gives the mean itself, so it stands for logits.

    Args:
        networks: map the same images to logits (N, C).
        shares: weight of each network; they sum to 1.
    """

    log_shares: Tensor

    def __init__(self, networks: Sequence[nn.Module], shares: Sequence[float]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.register_buffer("log_shares", torch.tensor(shares, dtype=torch.float64).log().float())
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (N, C) of images."""
        each = [
            network(images).float().log_softmax(1) + log_share
            for network, log_share in zip(self.networks, self.log_shares, strict=True)
        ]
        return torch.stack(each).logsumexp(0)


def torch_classifier(
    module: nn.Module, description: Description, *, bf16: bool = False
) -> Classifier:
    """Make a classifier of a torch module.

    Args:
        module: maps uint8 images to logits, as `Normalised` does.
        description: its input and output.
        bf16: compute in automatic mixed precision.
    """

    def logits(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found: NDArray[np.float32] = module(torch.from_numpy(images)).float().numpy()
        return found

    return Classifier(description, logits, module)
