"""One finished search for each library, and its exports in every form, made on first use."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from revo_ray.model.export.export import Exported, export_model
from tests.model.export.runs import MODELS, search

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
        options = (f"model.name={MODELS[library]}", "search.evaluations=2")
        return self.setdefault(library, search(self._folder, library, *options))


@pytest.fixture(scope="session")
def searches(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> dict[str, Path]:
    """The run directories by library."""
    return Searches(tmp_path_factory.mktemp("searches"))


class Exports:
    """Exported models by library and form.

    Attributes:
        folder: where they are, `LIBRARY`, `LIBRARY.onnx` and `LIBRARY.pt2`.
    """

    def __init__(self, searches: dict[str, Path], folder: Path) -> None:
        self.folder = folder
        self._searches = searches
        self._made: dict[Path, Exported] = {}

    def __call__(self, library: str, form: str) -> Exported:
        if form == "onnx" and not all(map(find_spec, ("onnx", "onnxruntime", "onnxscript"))):
            pytest.skip("needs onnx, onnxruntime and onnxscript")
        path = self.folder / f"{library}{SUFFIXES[form]}"
        if path not in self._made:
            self._made[path] = export_model(str(self._searches[library]), form, path)
        return self._made[path]


@pytest.fixture(scope="session")
def exports(searches: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """Call it with a library and a form."""
    return Exports(searches, tmp_path_factory.mktemp("exports"))
