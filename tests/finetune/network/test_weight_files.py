"""Weight files as the usual tools write them: all load; the others are refused in one line."""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from timm.utils.checkpoint_saver import CheckpointSaver
from timm.utils.model_ema import ModelEmaV3
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from revo_ray.finetune.network.backbone import load_backbone
from tests.finetune.network.backbones import refusal, same_outside_head

NETWORK, HEAD = "timm/test_resnet", "fc"
Make = Callable[[Path, nn.Module], Path]


def trained(seed: int) -> nn.Module:
    """A network that no loader makes by itself: every parameter and buffer is drawn."""
    network: nn.Module = timm.create_model("test_resnet")
    generator = torch.Generator().manual_seed(seed)
    for tensor in network.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * 9)
    return network


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained(1)


@pytest.fixture(scope="module")
def average() -> nn.Module:
    """Another network: whoever takes it for the first is found out."""
    return trained(2)


@pytest.fixture(autouse=True, scope="module")
def one_process() -> Iterator[None]:
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def saved(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def compiled(folder: Path, network: nn.Module) -> Path:
    return saved(torch.compile(network).state_dict(), folder / "w.pt")


def compiled_layer(folder: Path, network: nn.Module) -> Path:
    network.layer2 = torch.compile(network.layer2)
    return saved(network.state_dict(), folder / "w.pth")


def distributed(folder: Path, network: nn.Module) -> Path:
    return saved({"net": DistributedDataParallel(network).state_dict()}, folder / "w.pth")


def distributed_and_compiled(folder: Path, network: nn.Module) -> Path:
    wrapped: Any = torch.compile(DistributedDataParallel(network))
    return saved({"state_dict": wrapped.state_dict()}, folder / "w.pth")


def compiled_and_distributed(folder: Path, network: nn.Module) -> Path:
    wrapped = DistributedDataParallel(torch.compile(network))
    return saved({"model": wrapped.state_dict()}, folder / "w.bin")


def parallel(folder: Path, network: nn.Module) -> Path:
    content = {"epoch": 9, "arch": "x", "state_dict": nn.DataParallel(network).state_dict()}
    return saved(content, folder / "w.pth.tar", _use_new_zipfile_serialization=False)


def averaged(folder: Path, network: nn.Module) -> Path:
    return saved(AveragedModel(network).state_dict(), folder / "w.pth")


def timm_average(folder: Path, network: nn.Module) -> Path:
    return saved(ModelEmaV3(network).state_dict(), folder / "w.pth")


def timm_saver(folder: Path, network: nn.Module) -> Path:
    arguments = argparse.Namespace(model="test_resnet", output=folder, lr=0.1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    saver = CheckpointSaver(network, optimizer, arguments, checkpoint_dir=str(folder))
    saver.save_checkpoint(3, metric=np.float64(71.5))
    return folder / "last.pth.tar"


def safe(folder: Path, network: nn.Module) -> Path:
    safetensors.torch.save_model(network, str(folder / "w.safetensors"))
    return folder / "w.safetensors"


def plain_loop(folder: Path, network: nn.Module) -> Path:
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0)  # it has a state, and moves nothing
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    content = {
        "epoch": 4,
        "model_state_dict": network.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "args": argparse.Namespace(lr=np.float32(0.1), data=folder, sizes=[np.int64(3)]),
        "best": {"accuracy": np.float64(0.5), "done": np.bool_(True)},
        "random": {"numpy": np.random.default_rng(0).random(4), "torch": torch.get_rng_state()},
    }
    return saved(content, folder / "w.pt")


class Wrapped(nn.Module):
    """A network inside another module, with layers beside it."""

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(7))
        self.add_module(name, network)
        self.projector = nn.Linear(3, 3)


def lightning(folder: Path, network: nn.Module) -> Path:
    """Write a checkpoint laid out as one of Lightning 2.6's, which is no dependency of the tests.

    `Trainer.fit` wrote its keys, with `ModelCheckpoint` and `save_hyperparameters`.
    """
    module = Wrapped("model", network)
    optimizer = torch.optim.AdamW(module.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    progress = {"total": {"ready": 2, "completed": 2}, "current": {"ready": 2, "completed": 2}}
    fit = {"state_dict": {}, "epoch_loop.state_dict": {"_batches_that_stepped": 2}}
    checkpoint = {"monitor": "loss", "best_model_score": torch.tensor(8.8), "dirpath": str(folder)}
    content = {
        "epoch": 0,
        "global_step": 2,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": module.state_dict(),
        "loops": {"fit_loop": fit | {"epoch_progress": progress}},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss', 'mode': 'min'}": checkpoint},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [schedule.state_dict()],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1, "name": "x"},
    }
    return saved(content, folder / "epoch=0-step=2.ckpt")


def encoder(folder: Path, network: nn.Module) -> Path:
    return saved(Wrapped("encoder", network).state_dict(), folder / "w.pth")


def backbone(folder: Path, network: nn.Module) -> Path:
    wrapped = DistributedDataParallel(Wrapped("backbone", network))
    return saved({"model": wrapped.state_dict()}, folder / "w.pth")


COMPILED = (compiled, compiled_layer, distributed_and_compiled, compiled_and_distributed)
MAKES = (
    *(distributed, parallel, averaged, timm_average, timm_saver),
    *(safe, plain_loop, lightning, encoder, backbone),
)
# The compiler takes seconds to import.
SLOW = [pytest.param(make, marks=pytest.mark.slow, id=make.__name__) for make in COMPILED]


@pytest.mark.sample(7)
@pytest.mark.parametrize("make", [*MAKES, *SLOW])
def test_a_file_of_a_usual_tool_loads(tmp_path: Path, network: nn.Module, make: Make) -> None:
    file = make(tmp_path, copy.deepcopy(network))
    loaded = load_backbone(NETWORK, str(file), 4)
    assert same_outside_head(loaded.model, network.state_dict(), HEAD)
    # Each of them holds the old classifier.
    assert any("classifier" in note and "fc.weight (1000," in note for note in loaded.notes)
    beside = [note for note in loaded.notes if "beside" in note]
    assert bool(beside) == (make in (lightning, encoder, backbone))
    assert all("criterion.weight" in note for note in beside)


def by_timm(folder: Path, network: nn.Module, average: nn.Module) -> Path:
    optimizer, ema = torch.optim.SGD(network.parameters(), lr=0.1), ModelEmaV3(average)
    saver = CheckpointSaver(network, optimizer, model_ema=ema, checkpoint_dir=str(folder))
    saver.save_checkpoint(0)
    return folder / "last.pth.tar"


def by_torchvision(folder: Path, network: nn.Module, average: nn.Module) -> Path:
    """Write a checkpoint as torchvision's reference training does."""
    ema = AveragedModel(average, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    content = {
        "model": network.state_dict(),
        "optimizer": torch.optim.SGD(network.parameters(), lr=0.1).state_dict(),
        "epoch": 3,
        "args": argparse.Namespace(model="resnet", opt="sgd"),
        "model_ema": ema.state_dict(),
    }
    return saved(content, folder / "w.pth")


def nested(folder: Path, network: nn.Module, average: nn.Module) -> Path:
    """Write the average last, each state dict in a dict of its own."""
    content = {
        "model": {"state_dict": network.state_dict()},
        "model_ema": {"state_dict": average.state_dict(), "decay": 0.99},
    }
    return saved(content, folder / "w.pth")


def under_ema(folder: Path, network: nn.Module, average: nn.Module) -> Path:
    content = {
        "model": network.state_dict(),
        "ema": {"module": average.state_dict(), "updates": 7},
    }
    return saved(content, folder / "w.pth")


@pytest.mark.parametrize(
    ("make", "first", "other"),
    [
        (by_timm, "state_dict_ema", "state_dict"),
        (by_torchvision, "model_ema", "model"),
        (nested, "model_ema.state_dict", "model.state_dict"),
        (under_ema, "ema.module", "model"),
    ],
)
def test_of_two_networks_in_a_file_either_can_be_taken(
    tmp_path: Path, network: nn.Module, average: nn.Module, make: Any, first: str, other: str
) -> None:
    file = make(tmp_path, copy.deepcopy(network), copy.deepcopy(average))
    loaded = load_backbone(NETWORK, str(file), 4)
    assert same_outside_head(loaded.model, average.state_dict(), HEAD)
    (note,) = [note for note in loaded.notes if "loaded" in note]
    assert f"loaded {first}, not {other};" in note
    assert f"model.weights={file}#{other} " in note

    loaded = load_backbone(NETWORK, f"{file}#{other}", 4)
    assert same_outside_head(loaded.model, network.state_dict(), HEAD)
    assert not any("#" in note for note in loaded.notes)
    message = refusal(NETWORK, f"{file}#teacher", 4)
    assert first in message
    assert other in message


def test_a_key_that_is_not_usual_is_taken_if_it_is_the_only_one_or_named(
    tmp_path: Path, network: nn.Module, average: nn.Module
) -> None:
    file = tmp_path / "student#1.pth"
    torch.save({"student": network.state_dict()}, file)
    loaded = load_backbone(NETWORK, str(file), 4)
    assert same_outside_head(loaded.model, network.state_dict(), HEAD)
    torch.save({"student": network.state_dict(), "teacher": average.state_dict()}, file)
    assert f"student, teacher; write one behind its name, as in {file}#student" in refusal(
        NETWORK, str(file), 4
    )
    loaded = load_backbone(NETWORK, f"{file}#teacher", 4)
    assert same_outside_head(loaded.model, average.state_dict(), HEAD)
    torch.save(network.state_dict(), file)
    assert "leave out #student" in refusal(NETWORK, f"{file}#student", 4)


def test_wrapped_files_keep_the_versions_of_modules(tmp_path: Path) -> None:
    # MNASNet refuses a state dict without them.
    network = torchvision.models.mnasnet0_5()
    torch.save({"model": AveragedModel(network).state_dict()}, tmp_path / "w.pth")
    loaded = load_backbone("torchvision/mnasnet0_5", str(tmp_path / "w.pth"), 4)
    assert same_outside_head(loaded.model, network.state_dict(), "classifier.1")


def test_a_wrapped_file_of_another_network_is_refused(tmp_path: Path, network: nn.Module) -> None:
    state = nn.DataParallel(network).state_dict()
    del state["module.layer1.0.conv1.weight"]
    state["module.extra.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pth")
    message = refusal(NETWORK, str(tmp_path / "w.pth"), 4)
    assert "1 missing (layer1.0.conv1.weight)" in message
    assert "1 unexpected (extra.weight)" in message
    assert "missing" in refusal("timm/test_vit", str(tmp_path / "w.pth"), 4)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("w.ckpt", b"\n<!DOCTYPE html>\n<html></html>", "web page"),
        ("w.pth.tar", b"", "empty"),
        ("w.bin", b"no weights at all, \x80 only some text", "damaged or no weight file"),
    ],
)
def test_files_that_people_have_in_place_of_weights_are_told(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    message = refusal(NETWORK, str(tmp_path / name), 4)
    assert said in message
    assert name in message


def test_whole_networks_in_a_file_are_refused(tmp_path: Path, network: nn.Module) -> None:
    torch.save({"model": network}, tmp_path / "w.pt")
    message = refusal(NETWORK, str(tmp_path / "w.pt"), 4)
    assert "timm.models.resnet.ResNet" in message
    assert "state_dict()" in message


class Planted:
    """Unpickling it calls something with the name of a folder."""

    def __init__(self, called: Callable[[str], Any], folder: Path) -> None:
        self.called, self.folder = called, folder

    def __reduce__(self) -> tuple[Any, ...]:
        return self.called, (str(self.folder),)


@pytest.mark.parametrize("called", [os.mkdir, os.system, eval, np.load, argparse.FileType("w")])
def test_nothing_beside_the_weights_runs(
    tmp_path: Path, network: nn.Module, called: Callable[[str], Any]
) -> None:
    allowed = set(torch.serialization.get_safe_globals())
    planted = Planted(called, tmp_path / "ran")
    content = {"model": network.state_dict(), "args": argparse.Namespace(data=planted)}
    torch.save(content, tmp_path / "w.pth")
    assert "run code" in refusal(NETWORK, str(tmp_path / "w.pth"), 4)
    assert not (tmp_path / "ran").exists()
    assert set(torch.serialization.get_safe_globals()) == allowed
