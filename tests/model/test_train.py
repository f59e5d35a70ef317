"""A plan that is read, and a fine-tuning under it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch

from revo_ray.errors import UserError
from revo_ray.finetune.network import UNIT_RULES
from revo_ray.finetune.network.units import find_units
from revo_ray.finetune.plan import Plan
from revo_ray.model.train import read_plan, train_plan
from revo_ray.rundir.recorded_config import write_config
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage


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


def test_a_plan_of_a_search_with_units_by_other_rules_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan((1e-3, 0.0))
    file = tmp_path / "best" / "plan.json"
    file.parent.mkdir()
    file.write_text(json.dumps(plan.to_json()))
    assert read_plan(file) == plan
    write_config(Storage(str(tmp_path)), SearchConfig(), {}, {"units": UNIT_RULES, "proposals": 1})
    assert read_plan(file) == plan
    for rules in ({}, {"units": 1}, {"units": UNIT_RULES + 1}):
        write_config(Storage(str(tmp_path)), SearchConfig(), {}, rules)
        with pytest.raises(UserError, match=r"is a plan for units by version \d+ of the rules"):
            read_plan(file)
    for folder, path in ((tmp_path, "best/plan.json"), (file.parent, "plan.json")):
        monkeypatch.chdir(folder)
        with pytest.raises(UserError, match="rules"):
            read_plan(path)
    assert read_plan(file.rename(tmp_path / "plan.json")) == plan
