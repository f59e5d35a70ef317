"""The lines of a model card label pictures as revo-ray does, where revo-ray is not installed."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import revo_ray
from revo_ray.data.files.formats import open_image
from revo_ray.model.description import Description
from revo_ray.model.export.facts import licence_text
from revo_ray.model.export.snippet import snippet
from revo_ray.model.pictures import Picture, pixels_of
from revo_ray.settings.schema import ModelConfig, SearchConfig
from tests.model.all_modes import write_pictures
from tests.model.export.conftest import Exports
from tests.model.export.runs import MODELS

PROGRAM = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
try:
    import revo_ray
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("revo_ray can be imported")
import pathlib, re
import numpy as np
pictures = sorted(pathlib.Path("pictures").iterdir())
answers = {}
for name in sys.argv[2:]:
    (lines,) = re.findall("```python\\n(.*?)```", pathlib.Path(name + ".md").read_text(), re.S)
    here = {}
    exec(lines, here)  # labels image.png
    assert here["probabilities"].shape == (1, 10)
    answers[name] = here["predict"](np.stack([here["read"](path) for path in pictures]))
np.savez("answers.npz", **answers)
"""


def card_of(path: Path) -> str:
    """The model card, from where each format carries it."""
    if path.is_dir():
        return (path / "README.md").read_text()
    if path.suffix == ".onnx":
        import onnx

        return str(onnx.load(path).doc_string)
    extra = {"README.md": ""}
    torch.export.load(path, extra_files=extra)
    return extra["README.md"]


@pytest.fixture(scope="module")
def place(exports: Exports) -> Path:
    """The folder of the exports, with pictures in it."""
    write_pictures(exports.folder / "pictures")
    shutil.copy(exports.folder / "pictures" / "rgba.png", exports.folder / "image.png")
    return exports.folder


def run_cards(place: Path, models: list[Path], python: str = sys.executable) -> None:
    """Run the cards' lines in a process, and compare what they answer with `load`."""
    names = [model.name for model in models]
    for model in models:
        (place / f"{model.name}.md").write_text(card_of(model))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-P", "-c", PROGRAM, "revo_ray,baselines", *names],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=280,
        env=environment | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    pictures = sorted((place / "pictures").iterdir())
    answers = np.load(place / "answers.npz")
    for name in names:
        wanted = revo_ray.load(place / name, trust=True).predict(pictures).probabilities
        difference = np.abs(answers[name] - wanted).max(1)
        assert difference.max() < 1e-4, (name, pictures[difference.argmax()].name)
        assert np.ptp(wanted, axis=0).max() > 0.01


@pytest.mark.nightly
@pytest.mark.slow
def test_its_lines_label_pictures_of_all_modes_as_load_does(place: Path, exports: Exports) -> None:
    formats = itertools.product(MODELS, ("safetensors", "torch-export", "onnx"))
    made = [exports(library, to).path for library, to in formats]
    made += [exports("timm", to, "ensemble").path for to in ("safetensors", "torch-export")]
    run_cards(place, made)


@pytest.mark.nightly
@pytest.mark.parametrize("to", ["safetensors", "onnx"])
def test_its_lines_need_what_it_lists_and_nothing_else(
    place: Path, exports: Exports, to: str
) -> None:
    """In a fresh environment, into which pip installs the packages of the card."""
    made = exports("timm", to, "ensemble").path
    (packages,) = re.findall(r"`pip install (.*?)`", card_of(made))
    wanted = [package.strip('"') for package in packages.split()]
    # The versions that it was exported with.
    pinned = [p if ">" in p else f"{p}=={version(p).partition('+')[0]}" for p in wanted]
    venv = place / f"venv-{to}"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=200)
    python = str(venv / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pinned], check=True, timeout=900)
    run_cards(place, [made], python)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("intensity", [None, (0.0, 4095.0), (-100.0, 40_000.0)])
def test_it_reads_pictures_as_training_does_under_every_setting(
    place: Path, fit: str, intensity: tuple[float, float] | None
) -> None:
    described = Description("timm/none", ("a",), 48, (0.5,) * 3, (0.5,) * 3)
    description = replace(described, fit=fit, intensity=intensity)  # type: ignore[arg-type]
    lines = snippet(description, "onnx", "model.onnx").partition("session =")[0]
    here: dict[str, object] = {}
    exec(lines.replace("import onnxruntime\n", ""), here)
    for path in sorted((place / "pictures").iterdir()):
        content = path.read_bytes()
        wanted = pixels_of(Picture(path.name, lambda: open_image(content)), description)  # noqa: B023
        assert np.array_equal(here["read"](path), wanted), path.name  # type: ignore[operator]


def test_it_reads_pictures_as_large_as_the_search_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's own limit, which is lowered here, refuses larger ones."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    Image.new("RGB", (11, 11), "red").save(tmp_path / "large.png")
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "large.png")
    description = Description("timm/none", ("a",), 8, (0.5,) * 3, (0.5,) * 3, max_pixels=2**30)
    lines = snippet(description, "onnx", "model.onnx").partition("session =")[0]
    here: dict[str, Any] = {}
    exec(lines.replace("import onnxruntime\n", ""), here)
    assert here["read"](tmp_path / "large.png")[:, 4, 4].tolist() == [255, 0, 0]


def test_pictures_of_the_test_are_of_all_kinds(place: Path) -> None:
    opened = [Image.open(path) for path in (place / "pictures").iterdir()]
    assert len(opened) >= 40
    modes = {image.mode for image in opened}
    assert modes >= {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"}
    assert {image.getexif().get(274) for image in opened} >= {*range(1, 9)}


@pytest.mark.parametrize(
    ("name", "weights", "says"),
    [
        ("timm/resnet18", "pretrained:a1_in1k", "licence of the weights: apache-2.0"),
        ("timm/resnet18.a1_in1k", "pretrained", "source of the weights: timm/resnet18.a1_in1k"),
        ("timm/convnextv2_tiny.fcmae", "pretrained", "licence of the weights: cc-by-nc-4.0"),
        ("torchvision/resnet18", "pretrained", "`ResNet18_Weights.IMAGENET1K_V1`"),
        ("torchvision/resnet50", "pretrained:IMAGENET1K_V2", "https://download.pytorch.org/models"),
        ("timm/resnet18", "none", "(random weights)"),
        ("timm/resnet18", "/private/of/mine/weights.pth", "(`weights.pth`)"),
        ("timm/resnet18", "package:torch", "the package `torch` 2"),
    ],
)
def test_it_states_licence_and_source_of_the_weights(name: str, weights: str, says: str) -> None:
    text = licence_text(SearchConfig(model=ModelConfig(name=name, weights=weights)))
    assert says in text
    assert "Fill this in" in text
    assert "private" not in text
