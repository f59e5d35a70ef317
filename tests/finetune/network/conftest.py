"""Weights to load."""

from __future__ import annotations

import pytest
import torch
import torchvision


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Weights of the small model that no seed of these tests draws, with 1,000 classes."""
    torch.manual_seed(99)
    return torchvision.models.shufflenet_v2_x0_5().state_dict()
