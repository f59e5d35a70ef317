"""Helpers for tests that load networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from revo_ray.errors import UserError
from revo_ray.finetune.network.backbone import load_backbone

SMALL = "torchvision/shufflenet_v2_x0_5"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def refusal(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_backbone(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


def same_outside_head(model: torch.nn.Module, tensors: dict[str, torch.Tensor], head: str) -> bool:
    ours = {k: v for k, v in model.state_dict().items() if not k.startswith(f"{head}.")}
    theirs = {k: v for k, v in tensors.items() if not k.startswith(f"{head}.")}
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
