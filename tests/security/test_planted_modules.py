"""No command imports a module that lies in the current folder, whatever its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.security.commands import CHECKOUT, revo, sets
from tests.security.planted import NAMES, OF_PYTHON, imported, planted

pytestmark = pytest.mark.slow


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


def test_there_are_sixty() -> None:
    assert len(NAMES) >= 60


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
COMMANDS = {
    "inspect": ("data", "inspect", *sets(*IMAGES)),
    "predict": ("predict", "{run}", "photos"),
    "watch": ("watch", "{run}"),
    "models": ("models", "resnet18"),
    "study": ("study", "preset:quick", "--dry-run", "--set", "storage=results"),
    "submit": ("submit", "--set", "storage=/tmp/none", "--address", "http://127.0.0.1:9"),
    "train": ("train", "{run}", "--out", "trained"),
    "safetensors": ("export", "{run}", "--to", "safetensors", "--out", "exported"),
    "torch-export": ("export", "{run}", "--to", "torch-export", "--out", "exported.pt2"),
}
"""What `test_watched` does not run."""


@pytest.mark.parametrize(
    "command",
    ["inspect", *(pytest.param(n, marks=pytest.mark.nightly) for n in COMMANDS if n != "inspect")],
)
def test_no_command_imports_one(folder: Path, run: Path, command: str) -> None:
    words = [word.format(run=run) for word in COMMANDS[command]]
    done = revo(*words, folder=folder, fresh=True)
    assert imported(folder) == []
    assert done.returncode == (2 if command == "submit" else 0), done.stdout + done.stderr
