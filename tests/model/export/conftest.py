"""One finished search for each library, and its exports in every format, made on first use."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from revo_ray.model.export.export import Exported, export_model
from revo_ray.rundir.forms import Form
from tests.model.export.runs import MODELS
from tests.model.run_directories import make_run

SUFFIXES = {"safetensors": "", "torch-export": ".pt2", "onnx": ".onnx"}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, as searches do: sums in another order differ in the last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Searches(dict[str, Path]):
    """Run directories by library."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __missing__(self, library: str) -> Path:
        made = make_run(self._folder, library, f"model.name={MODELS[library]}")
        return self.setdefault(library, made)


@pytest.fixture(scope="session")
def searches(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> dict[str, Path]:
    """The run directories by library."""
    return Searches(tmp_path_factory.mktemp("searches"))


class Exports:
    """Exported models by library and format; the best of each search, or its ensemble.

    Attributes:
        folder: where they are, `LIBRARY`, `LIBRARY.onnx`, `LIBRARY.pt2` and `LIBRARY-ensemble`….
    """

    def __init__(self, searches: dict[str, Path], folder: Path) -> None:
        self.folder = folder
        self._searches = searches
        self._made: dict[Path, Exported] = {}

    def __call__(self, library: str, to: str, form: Form = "best") -> Exported:
        if to == "onnx" and not all(map(find_spec, ("onnx", "onnxruntime", "onnxscript"))):
            pytest.skip("needs onnx, onnxruntime and onnxscript")
        name = library if form == "best" else f"{library}-{form}"
        path = self.folder / f"{name}{SUFFIXES[to]}"
        if path not in self._made:
            self._made[path] = export_model(str(self._searches[library]), to, path, form)
        return self._made[path]


@pytest.fixture(scope="session")
def exports(searches: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """Call it with a library, a format and a form."""
    return Exports(searches, tmp_path_factory.mktemp("exports"))
