"""torchvision's models: old files, pretrained weights, image sizes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from revo_ray.finetune.network.backbone import load_backbone
from tests.finetune.network.backbones import SMALL, refusal, same_outside_head


def test_old_densenet_key_names_are_understood(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torchvision.models.densenet121()
    old = OrderedDict(
        (key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."), tensor)
        for key, tensor in model.state_dict().items()
    )
    assert any(".norm.1." in key for key in old)
    torch.save(old, tmp_path / "w.pth")
    loaded = load_backbone("torchvision/densenet121", str(tmp_path / "w.pth"), 2)
    assert same_outside_head(loaded.model, model.state_dict(), "classifier")


def test_torchvision_pretrained_weights_are_found_in_torch_home(
    tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    url = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url
    torch.save(state, folder / Path(url).name)
    backbone = load_backbone(SMALL, "pretrained", 3)
    assert same_outside_head(backbone.model, state, "fc")
    assert "ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1" in backbone.weights
    expected = hashlib.sha256((folder / Path(url).name).read_bytes()).hexdigest()
    assert backbone.weights_sha256 == expected


def test_a_variant_that_does_not_exist_is_refused_with_those_that_do() -> None:
    message = refusal("torchvision/resnet50", "pretrained:V3", 3)
    known = torchvision.models.ResNet50_Weights
    assert len(known) > 1
    assert all(entry.name in message for entry in known)
    assert "'V3'" in message
    assert "names no variant" in refusal("torchvision/resnet50", "pretrained:", 3)


def test_torchvision_weights_that_cannot_be_had_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("<urlopen error [Errno -2]\nName or service not known>")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    message = refusal(SMALL, "pretrained", 3)
    assert "shufflenetv2_x0.5" in message
    assert f"{tmp_path}/hub/checkpoints" in message
    assert "TORCH_HOME" in message


def test_torchvision_transformer_takes_another_image_size() -> None:
    backbone = load_backbone("torchvision/vit_b_32", "none", 2, image_size=64)
    assert backbone.model.state_dict()["encoder.pos_embedding"].shape[1] == 2 * 2 + 1
