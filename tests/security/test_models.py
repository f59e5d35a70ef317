"""Models of strangers: no pickle is opened, nothing is downloaded, no other file is read."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.security.commands import SMALL, revo, sets
from tests.security.servers import listening

pytestmark = pytest.mark.slow

CLASSES = 1000


def refusal_without_a_request(model: Path, picture: Path, folder: Path) -> str:
    """The error of `predict`, which asks neither the Hub nor torch's server, both unvisited yet."""
    with listening() as (port, requests):
        proxy = f"http://127.0.0.1:{port}"
        caches = {"TORCH_HOME": str(folder / "t"), "HF_HOME": str(folder / "h")}
        environment = {"https_proxy": proxy, "http_proxy": proxy, **caches}
        done = revo("predict", model, picture, folder=folder, environment=environment)
    assert not requests, requests[0]
    assert done.returncode == 2
    return done.stderr


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.mark), "w"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image to label."""
    Image.effect_noise((32, 32), 90).convert("RGB").save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture(scope="module")
def made_folder(made_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported folder of a network."""
    folder = tmp_path_factory.mktemp("exported")
    # The first form of a search's result is one network at each revision.
    config = (made_run / "config.yaml").read_text()
    form = ["--form", "best"] if "result: " in config else []
    words = ("export", made_run, "--to", "safetensors", "--out", folder / "model", *form)
    done = revo(*words, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "model"


@pytest.fixture
def exported(made_folder: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to spoil."""
    return Path(shutil.copytree(made_folder, tmp_path / "exported"))


def as_pickle(folder: Path) -> None:
    """Put the weights of a folder into a file of pickles, which older versions of timm unpickle."""
    state = load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def test_weights_are_taken_from_no_pickle(exported: Path, picture: Path, tmp_path: Path) -> None:
    as_pickle(exported)
    done = revo("predict", exported, picture, folder=tmp_path)
    assert done.returncode == 2, done.stdout
    assert "has no model.safetensors" in done.stderr


def test_a_planted_config_turns_no_run_directory_into_a_folder_of_pickles(
    run: Path, exported: Path, picture: Path, tmp_path: Path
) -> None:
    as_pickle(exported)
    config = json.loads((exported / "config.json").read_text())
    config["label_names"] = [f"forged {each}" for each in config["label_names"]]
    (run / "config.json").write_text(json.dumps(config))
    shutil.copy(exported / "pytorch_model.bin", run)
    done = revo("predict", run, picture, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "forged" not in done.stdout
    (run / "config.yaml").unlink()
    assert revo("predict", run, picture, folder=tmp_path).returncode == 2


def test_arguments_of_a_model_start_no_download(picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    config = {
        "library_name": "torchvision",
        "architecture": "shufflenet_v2_x0_5",
        "num_classes": CLASSES,
        "num_features": 1024,
        "model_args": {"weights": "DEFAULT"},
        "label_names": [str(number) for number in range(CLASSES)],
        "pretrained_cfg": {
            "input_size": [3, 32, 32],
            **{"mean": [0.5] * 3, "std": [0.5] * 3, "classifier": "fc"},
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"fc.bias": torch.zeros(CLASSES)}, folder / "model.safetensors")
    assert "'weights'" in refusal_without_a_request(folder, picture, tmp_path)


def test_a_name_of_the_hub_is_no_model(run: Path, picture: Path, tmp_path: Path) -> None:
    name = "timm/hf-hub:timm/resnet18.a1_in1k"
    config = (run / "config.yaml").read_text()
    assert "timm/test_efficientnet" in config
    (run / "config.yaml").write_text(config.replace("timm/test_efficientnet", name))
    assert "Traceback" not in refusal_without_a_request(run, picture, tmp_path)


def program_with_a_pickle(path: Path, mark: Path) -> None:
    """Write a torch program one of whose weights is a pickle."""
    whole = path.with_suffix(".whole.pt2")
    example = (torch.zeros(1, 2),)
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), example), whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.namelist():
            content = source.read(entry)
            if entry.endswith("model_weights_config.json"):
                config = json.loads(content)
                name, weight = next(iter(config["config"].items()))
                weight["use_pickle"] = True
                config["config"] = {name: weight, **config["config"]}
                stored, content = weight["path_name"], json.dumps(config).encode()
            target.writestr(entry, content)
    pickled = path.with_suffix(".pth")
    torch.save(Evil(mark), pickled)
    with zipfile.ZipFile(path) as source:
        parts = {entry: source.read(entry) for entry in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        for entry, content in parts.items():
            evil = pickled.read_bytes() if entry.endswith(f"/weights/{stored}") else content
            target.writestr(entry, evil)


def test_a_program_is_opened_on_request_alone(picture: Path, tmp_path: Path) -> None:
    program_with_a_pickle(tmp_path / "model.pt2", tmp_path / "ran")
    done = revo("predict", tmp_path / "model.pt2", picture, folder=tmp_path)
    assert not (tmp_path / "ran").exists(), "code in the archive has run"
    assert done.returncode == 2
    assert "--trust" in done.stderr
    revo("predict", tmp_path / "model.pt2", picture, "--trust", folder=tmp_path)
    assert (tmp_path / "ran").exists()  # the archive does hold code


def test_a_weights_file_of_pickles_runs_nothing(run: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"a.b": torch.zeros(1), "more": Evil(mark)}, tmp_path / "zip.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Evil(mark)))
    for name in ("zip.pth", "bare.pth"):
        words = ("train", "preset:quickstart", "--plan", run / "best" / "plan.json")
        keys = sets(*SMALL, f"model.weights={tmp_path / name}", f"storage={tmp_path}")
        done = revo(*words, *keys, folder=tmp_path)
        assert done.returncode == 2, done.stderr
        assert "model.weights" in done.stderr
        assert not mark.exists()


def onnx_with_weights_in(path: Path, place: str) -> None:
    """Write an ONNX model whose two logits are stored in another file."""
    import onnx

    helper, numbers = onnx.helper, onnx.TensorProto
    logits = onnx.TensorProto(name="stored", data_type=numbers.FLOAT, dims=[1, 2])
    logits.data_location = numbers.EXTERNAL
    for key, value in {"location": place, "offset": "0", "length": "8"}.items():
        logits.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["stored"], ["logits"])],
        "model",
        [helper.make_tensor_value_info("images", numbers.UINT8, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", numbers.FLOAT, [1, 2])],
        [logits],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    facts = {"model": "timm/resnet18", "image_size": "8", "labels": '["a", "b"]'}
    helper.set_model_props(model, {**facts, "mean": "[0, 0, 0]", "std": "[1, 1, 1]"})
    path.write_bytes(model.SerializeToString())


def test_an_onnx_file_reads_no_other_folder(picture: Path, tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    for secret in (tmp_path / "secret", place / "weights"):
        secret.write_bytes(struct.pack("<2f", 0.0, 3.0))
    for name, location in {"evil": "../../secret", "good": "weights"}.items():
        onnx_with_weights_in(place / f"{name}.onnx", location)
    done = revo("predict", place / "evil.onnx", picture, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    done = revo("predict", place / "good.onnx", picture, folder=tmp_path)
    assert done.stdout.split() == [str(picture), "b", "0.9526"], done.stderr
