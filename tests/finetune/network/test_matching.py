"""Tensors that do not match a model."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from tests.finetune.network.backbones import SMALL, refusal


def test_differences_are_named(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    file = tmp_path / "w.pth"
    changed: dict[str, torch.Tensor] = copy.copy(state)

    del changed["conv1.0.weight"]
    torch.save(changed, file)
    assert "1 missing (conv1.0.weight)" in refusal(SMALL, str(file), 2)

    changed["stem.weight"] = state["conv1.0.weight"]
    torch.save(changed, file)
    message = refusal(SMALL, str(file), 2)
    assert "1 missing (conv1.0.weight)" in message
    assert "1 unexpected (stem.weight)" in message
    assert "w.pth" in message

    torch.save(state | {"conv5.0.weight": torch.zeros(2, 2, 1, 1)}, file)
    message = refusal(SMALL, str(file), 2)
    assert "conv5.0.weight is (2, 2, 1, 1) in it, (1024, 192, 1, 1) in the model" in message

    torch.save(state, file)
    message = refusal("timm/test_resnet", str(file), 2)
    assert "missing" in message
    assert "unexpected" in message
    assert "of another shape" in message
