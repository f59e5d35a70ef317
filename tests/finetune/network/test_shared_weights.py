"""Weights for other machines: the network that is made of them there is the driver's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants
from safetensors.torch import save_file

from revo_ray.data.shared_files import fetch
from revo_ray.finetune.network.backbone import Backbone, load_backbone
from revo_ray.finetune.network.weights import share_weights
from revo_ray.storage import Storage
from tests.object_store import object_store

SEED = 3


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVO_RAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def trained(model: Any) -> dict[str, torch.Tensor]:
    """A state dict in which no tensor is what a new model has."""
    generator = torch.Generator().manual_seed(1)
    state: dict[str, torch.Tensor] = model.state_dict()
    for tensor in state.values():
        if tensor.is_floating_point():
            tensor.add_(torch.rand(tensor.shape, generator=generator), alpha=0.1)
        else:
            tensor.add_(5)
    return state


def put_in_hub(name: str, tmp_path: Path) -> None:
    """Put timm's own weights into its cache, where it finds them without a network."""
    config = timm.get_pretrained_cfg(name)
    assert config is not None
    folder = tmp_path / "hub" / f"models--{str(config.hf_hub_id).replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(
        trained(timm.create_model(name)), folder / "snapshots" / ("0" * 40) / "model.safetensors"
    )


def put_in_torch_home(name: str, variant: str, tmp_path: Path) -> None:
    """Put torchvision's own weights into its cache, where it finds them without a network."""
    url = torchvision.models.get_model_weights(name)[variant].url
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(trained(torchvision.models.get_model(name, weights=None)), folder / Path(url).name)


def assert_same(first: Backbone, second: Backbone, size: int) -> None:
    for part in ("named_parameters", "named_buffers"):  # with the buffers that no file holds
        ours, theirs = (dict(getattr(b.model, part)()) for b in (first, second))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert (first.head, first.mean, first.std) == (second.head, second.mean, second.std)
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = [backbone.model.eval()(images) for backbone in (first, second)]
    assert torch.equal(*outputs)


@pytest.mark.parametrize(
    ("name", "variant", "size"),
    [
        ("timm/test_efficientnet", "", 32),
        ("timm/test_vit", "", 64),  # its position embedding is resized
        ("timm/mobilenetv3_large_100", "ra4_e3600_r224_in1k", 32),  # its mean is not the default's
        ("torchvision/mnasnet0_5", "", 64),  # refuses a file without the versions of its modules
        ("torchvision/mobilenet_v2", "IMAGENET1K_V1", 64),  # V2 is the default
    ],
)
def test_pretrained_weights_make_the_same_network(
    name: str, variant: str, size: int, tmp_path: Path
) -> None:
    library, _, model = name.partition("/")
    if library == "timm":
        put_in_hub(f"{model}.{variant}" if variant else model, tmp_path)
    else:
        put_in_torch_home(model, variant or "DEFAULT", tmp_path)
    weights = f"pretrained:{variant}" if variant else "pretrained"
    first = load_backbone(name, weights, 4, seed=SEED, image_size=size)
    assert first.loaded is not None
    assert variant in first.weights
    shared = share_weights(first.loaded, Storage(str(tmp_path / "storage")))
    file = Path(shared.path)
    second = load_backbone(name, weights, 4, seed=SEED, image_size=size, file=file)
    assert second.weights_sha256 == shared.sha256
    assert (first.notes, second.notes) == ((), ())
    assert_same(first, second, size)


def test_a_file_of_another_form_makes_the_same_network(tmp_path: Path) -> None:
    state = trained(timm.create_model("test_efficientnet", num_classes=9))
    torch.save({"state_dict": {f"module.{key}": state[key] for key in state}}, tmp_path / "w.pth")
    first = load_backbone(
        "timm/test_efficientnet", str(tmp_path / "w.pth"), 4, seed=SEED, image_size=32
    )
    assert first.loaded is not None
    shared = share_weights(first.loaded, Storage(str(tmp_path / "storage")))
    second = load_backbone("timm/test_efficientnet", shared.path, 4, seed=SEED, image_size=32)
    assert second.notes == ()
    assert_same(first, second, 32)


def test_random_weights_are_not_shared() -> None:
    assert load_backbone("timm/test_efficientnet", "none", 4).loaded is None


@pytest.mark.slow
def test_equal_weights_are_written_and_uploaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads: list[str] = []
    upload = Storage.upload

    def count(storage: Storage, source: Path, path: str) -> None:
        uploads.append(path)
        upload(storage, source, path)

    monkeypatch.setattr(Storage, "upload", count)
    torch.save(trained(timm.create_model("test_efficientnet")), tmp_path / "w.pth")
    with object_store() as uri:
        storage = Storage(uri("searches"))
        found = []
        for classes in (4, 7):  # the head is not part of it
            backbone = load_backbone("timm/test_efficientnet", str(tmp_path / "w.pth"), classes)
            assert backbone.loaded is not None
            found.append(share_weights(backbone.loaded, storage))
        (shared,) = set(found)
        assert uploads == [shared.name]
        original = Path(shared.path)
        content = original.read_bytes()
        assert [path.name for path in original.parent.iterdir()] == [f"{shared.sha256}.pth"]
        original.write_bytes(content[:-9])  # a disk was full
        assert share_weights(backbone.loaded, storage) == shared
        monkeypatch.setenv("REVO_RAY_CACHE", str(tmp_path / "another machine's"))
        copy = fetch(shared)
        assert copy.is_relative_to(tmp_path / "another machine's")
        assert copy.read_bytes() == content
