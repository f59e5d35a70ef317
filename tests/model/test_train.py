"""`train_plan` on a weight file."""

from __future__ import annotations

from pathlib import Path

import timm
import torch

from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.plan import Plan
from revo_ray.model.train import train_plan
from revo_ray.settings.schema import SearchConfig


def test_a_line_tells_what_of_a_weight_file_is_left_out(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet")
    torch.save(network.state_dict(), tmp_path / "w.pth")
    small = ["data.max_images=200", "data.image_size=32", "train.epochs=1", f"storage={tmp_path}"]
    weights = ["model.name=timm/test_resnet", f"model.weights={tmp_path / 'w.pth'}"]
    config = SearchConfig.load(None, [*small, *weights, "model.granularity=stage"])
    said: list[str] = []
    units = find_units(network, "stage", "fc")
    train_plan(config, Plan((1e-3,) * len(units)), say=said.append)
    (line,) = said
    assert line.startswith("model.weights: left out its classifier")
