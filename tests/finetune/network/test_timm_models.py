"""timm's models: pretrained weights, image sizes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.finetune.network.units import find_units
from tests.finetune.network.backbones import refusal

HUB_PROGRAM = """
import hashlib, json, sys, torch
from revo_ray.errors import UserError
from revo_ray.finetune.network.backbone import load_backbone
torch.set_num_threads(1)
backbone = load_backbone("timm/test_resnet", "pretrained", 3)
try:
    load_backbone("timm/test_convnext", "pretrained", 3)
    message = None
except UserError as error:
    message = str(error)
torch.save(backbone.model.state_dict(), sys.argv[1])
print(json.dumps([backbone.head, backbone.weights, backbone.weights_sha256, message,
    backbone.revision]))
"""


@pytest.mark.nightly
def test_timm_pretrained_weights_are_found_in_hf_home(tmp_path: Path) -> None:
    torch.manual_seed(99)
    state = timm.create_model("test_resnet").state_dict()
    config = timm.get_pretrained_cfg("test_resnet")
    assert config is not None
    repository = str(config.hf_hub_id)
    commit = "0123456789" * 4
    cache = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    file = cache / "snapshots" / commit / "model.safetensors"
    file.parent.mkdir(parents=True)
    save_file(state, file)

    # The hub's client reads its environment when it is imported.
    out = subprocess.run(
        [sys.executable, "-c", HUB_PROGRAM, str(tmp_path / "loaded.pth")],
        env=os.environ
        | {
            "HF_HOME": str(tmp_path),
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(Path(__file__).parents[3]),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert out.returncode == 0, out.stderr
    head, weights, digest, message, revision = json.loads(out.stdout.splitlines()[-1])
    loaded = torch.load(tmp_path / "loaded.pth", weights_only=True)
    assert head == "fc"
    assert loaded["fc.weight"].shape[0] == 3
    assert all(torch.equal(loaded[k], state[k]) for k in state if not k.startswith("fc."))
    assert repository in weights
    assert revision == commit
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "\n" not in message
    assert "timm/test_convnext" in message
    assert str(tmp_path / "hub") in message
    assert "HF_HOME" in message


def test_a_tag_of_pretrained_weights_is_the_models_own_or_refused_with_those_that_exist() -> None:
    message = refusal("timm/resnet50", "pretrained:a9_in1k", 2)
    tags = [name.partition(".")[2] for name in timm.list_pretrained("resnet50.*")]
    assert "a1_in1k" in tags
    assert all(tag in message for tag in tags)
    assert "a1_in1k" in refusal("timm/resnet50.a1_in1k", "pretrained:a2_in1k", 2)
    without = next(name for name in timm.list_models() if not timm.is_model_pretrained(name))
    assert "it has none" in refusal(f"timm/{without}", "pretrained:a1_in1k", 2)


def test_a_transformers_position_embedding_is_resized_from_the_file(tmp_path: Path) -> None:
    torch.manual_seed(99)
    model = timm.create_model("test_vit")
    torch.save(model.state_dict(), tmp_path / "w.pth")
    backbone = load_backbone("timm/test_vit", str(tmp_path / "w.pth"), 2, image_size=64)
    grid = 64 // 16
    old, new = model.state_dict()["pos_embed"], backbone.model.state_dict()["pos_embed"]
    assert new.shape[1] == grid * grid + 1
    # The class token has no place and is kept; the others are interpolated, not drawn again.
    assert torch.equal(new[:, 0], old[:, 0])
    assert torch.allclose(new[:, 1:].mean(), old[:, 1:].mean(), atol=1e-3)
    assert backbone.model(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


@pytest.mark.parametrize(
    "name",
    [
        "timm/deit_tiny_distilled_patch16_224",
        "timm/swiftformer_xs",
        pytest.param("timm/crossvit_tiny_240", marks=pytest.mark.nightly),
    ],
)
def test_both_heads_of_a_network_are_new_and_one_unit(name: str) -> None:
    backbone = load_backbone(name, "none", 3, image_size=240 if "crossvit" in name else 64)
    model: Any = backbone.model
    units = find_units(model, "layer", backbone.head)
    parts = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == 3]
    assert len(parts) == 2
    own = {id(parameter) for part in parts for parameter in part.parameters()}
    assert {id(model.get_parameter(name)) for name in units[-1].parameters} == own
    assert [unit.head for unit in units] == [False] * (len(units) - 1) + [True]
    # timm's way to fine-tune them: the mean of both, in training as well.
    outputs: list[torch.Tensor] = []
    for part in parts:
        part.register_forward_hook(lambda _, __, output: outputs.append(output))
    for mode in (model.train, model.eval):
        mode()
        outputs.clear()
        size = 240 if "crossvit" in name else 64
        logits = model(torch.randn(2, 3, size, size))
        assert torch.allclose(logits, torch.stack(outputs).mean(0), atol=1e-6)
