"""The device of an evaluation."""

from __future__ import annotations

import pytest
import torch

from revo_ray.finetune.training.assemble import pick_device


@pytest.mark.parametrize(
    ("wanted", "holds_gpu", "available", "device"),
    [
        ("auto", True, True, "cuda:0"),
        ("auto", True, False, "cpu"),
        ("auto", False, True, "cpu"),
        ("cpu", True, True, "cpu"),
    ],
)
def test_a_gpu_is_used_if_there_is_one_and_it_is_held_and_wanted(
    monkeypatch: pytest.MonkeyPatch, wanted: str, holds_gpu: bool, available: bool, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert pick_device(wanted, holds_gpu) == torch.device(device)
