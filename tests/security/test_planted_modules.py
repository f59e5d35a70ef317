"""No command imports a module that lies in the current folder, whatever its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.security.commands import CHECKOUT, SMALL, revo, sets

pytestmark = pytest.mark.slow

NAMES = (
    *("timm", "torch", "torchvision", "numpy", "scipy", "sklearn", "pandas", "pyarrow", "PIL"),
    *("cmaes", "hyperopt", "safetensors", "huggingface_hub", "matplotlib", "jinja2", "yaml"),
    *("pydantic", "typer", "rich", "click", "tensorboardX", "crc32c", "imagehash", "pywt"),
    *("accimage", "baselines", "revo_ray_baselines", "wandb", "mlflow", "tensorboard", "onnx"),
    *("onnxruntime", "onnxscript", "pi_heif", "pillow_heif", "pydicom", "tifffile", "datasets"),
    *("xarray", "cupy", "jax", "tensorflow", "IPython", "ipywidgets", "colorama", "orjson"),
    *("ujson", "simplejson", "google", "brotli", "brotlicffi", "h2", "cchardet", "chardet"),
    *("socks", "psutil", "gmpy2", "pygments", "setproctitle", "uvloop", "fsspec", "s3fs"),
    *("pyximport", "ray", "lz4", "zstandard", "snappy", "cloudpickle", "dask", "optree", "numba"),
)
"""Libraries that the command needs, and those that it or they would use if they were there."""

OF_PYTHON = ("typing", "json", "random", "dataclasses", "pathlib", "logging", "tomllib", "queue")

PLANTED = """
import os
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "imported"), "a") as file:
    file.write(__name__ + "\\n")
raise ImportError("a planted module")
"""


def planted(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(PLANTED)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of images and planted modules, of which some have names of Python's own."""
    made = planted(tmp_path / "mine", *NAMES, *OF_PYTHON)
    pixels = np.random.default_rng(0).integers(0, 255, (24, 40, 40, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        target = made / "photos" / "ab"[number % 2] / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target)
    return made


def imported(folder: Path) -> list[str]:
    found = folder / "imported"
    return sorted(set(found.read_text().split())) if found.exists() else []


def test_there_are_sixty() -> None:
    assert len(NAMES) >= 60


def test_neither_a_search_nor_its_workers_import_one(folder: Path, short_folder: Path) -> None:
    done = revo(
        *("search", *sets(*SMALL, "storage=results", "name=mine")),
        folder=folder,
        environment={"RAY_TMPDIR": str(short_folder)},
        fresh=True,
    )
    assert imported(folder) == []
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "results" / "mine" / "result.json").exists()  # relative to this folder


def test_python_itself_puts_the_folder_first_and_none_is_imported(folder: Path) -> None:
    done = revo("methods", folder=folder, fresh=True, safe_path=False)
    assert imported(folder) == []
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_empty_entry_of_pythons_path_is_not_the_folder(folder: Path) -> None:
    for name in OF_PYTHON:
        (folder / f"{name}.py").unlink()  # Python imports some of these before any program
    done = revo("methods", folder=folder, environment={"PYTHONPATH": f"{CHECKOUT}:"}, fresh=True)
    assert imported(folder) == []
    assert done.returncode == 0, done.stdout + done.stderr


IMAGES = ("data.source=folder", "data.root=photos", "data.train_fraction=0.5")
QUICK = {
    "report": ("report", "{run}"),
    "predict": ("predict", "{run}", "photos"),
    "inspect": ("data", "inspect", *sets(*IMAGES)),
}
LONG = {
    "watch": ("watch", "{run}"),
    "models": ("models", "resnet18"),
    "study": ("study", "preset:quick", "--dry-run", "--set", "storage=results"),
    "submit": ("submit", "--set", "storage=/tmp/none", "--address", "http://127.0.0.1:9"),
    "train": ("train", "{run}", "--out", "trained"),
    "safetensors": ("export", "{run}", "--to", "safetensors", "--out", "exported"),
    "onnx": ("export", "{run}", "--to", "onnx", "--out", "exported.onnx"),
    "torch-export": ("export", "{run}", "--to", "torch-export", "--out", "exported.pt2"),
}


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "command", [*QUICK, *(pytest.param(n, marks=pytest.mark.nightly) for n in LONG)]
)
def test_no_other_command_imports_one(folder: Path, run: Path, command: str) -> None:
    words = [word.format(run=run) for word in (QUICK | LONG)[command]]
    done = revo(*words, folder=folder, fresh=True)
    assert imported(folder) == []
    assert done.returncode == (2 if command == "submit" else 0), done.stdout + done.stderr
