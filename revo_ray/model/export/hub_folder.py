"""Export to a folder of weights and configuration, in the layout of the Hugging Face Hub.

timm loads it by itself; the model card has the lines that load it with torchvision. An ensemble is
a folder of such folders, one for each member.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from revo_ray.errors import UserError, first_line
from revo_ray.model.description import INTERPOLATION, Description
from revo_ray.model.export.model_arguments import check_arguments
from revo_ray.model.loaded_model import Head, LoadedModel, Member, load_network
from revo_ray.settings.safe_json import read_json
from revo_ray.settings.schema import ModelConfig
from revo_ray.storage import Storage

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
README = "README.md"

MOST_MEMBERS = 1000
"""Most members of an ensemble's folder."""
_MEMBER = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")
"""Matches names of members' folders: nothing that leads out of the folder."""

_OF_PRETRAINED_WEIGHTS = (
    *("url", "file", "hf_hub_id", "hf_hub_filename", "source", "tag", "custom_load"),
    *("test_input_size", "min_input_size", "test_crop_pct", "test_pool_size"),
    *("label_offset", "label_names", "label_descriptions"),
    *("license", "description", "origin_url", "paper_name", "paper_ids", "notes"),
)
"""Keys of timm's configuration that describe the pretrained weights, not the fine-tuned ones."""


def write_folder(model: LoadedModel, folder: Path, card: str) -> None:
    """Write weights, `config.json` and `README.md` into a new folder.

    The members of an ensemble get a folder each, beside a `config.json` that lists them.
    """
    folder.mkdir()
    if len(model.members) == 1:
        write_network(model.members[0].network, model.head, model.description, folder)
    else:
        for member in model.members:
            (folder / member.name).mkdir()
            write_network(member.network, model.head, model.description, folder / member.name)
        write_members({m.name: m.share for m in model.members}, model.description, folder)
    (folder / README).write_text(card, encoding="utf-8")


def write_network(network: nn.Module, head: Head, description: Description, folder: Path) -> None:
    """Write `model.safetensors` and `config.json` of a single network into a folder."""
    from safetensors.torch import save_file

    # safetensors refuses a tensor under two names, as CoaT's shared layers have it.
    state = network.state_dict()
    tensors = {name: t.clone(memory_format=torch.contiguous_format) for name, t in state.items()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    is_timm = description.library == "timm"
    write_config = _write_timm_config if is_timm else _write_torchvision_config
    write_config(network, head, description, folder / CONFIG)


def write_members(shares: Mapping[str, float], description: Description, folder: Path) -> None:
    """Write the `config.json` of an ensemble, by the shares of its members' folders."""
    config = {
        "library_name": description.library,
        "architecture": description.architecture,
        "num_classes": len(description.labels),
        "label_names": list(description.labels),
        "members": [{"folder": name, "share": share} for name, share in shares.items()],
        **_reading(description),
        "pretrained_cfg": _preprocessing(description, None),
    }
    _write_json(config, folder / CONFIG)


def open_folder(storage: Storage) -> LoadedModel:
    """Load an exported folder.

    Raises:
        UserError: it is no exported folder, or a file of it is damaged.
        OSError: the storage is unreachable.
    """
    config, description = _read_config(storage)
    if "members" not in config:
        network, head = _open_network(storage, config, description)
        return LoadedModel(description, (Member("model", 1.0, network),), head)
    members: list[Member] = []
    for name, share in _read_members(storage, config).items():
        folder = storage.child(name)
        own, described = _read_config(folder)
        if "members" in own or replace(described, model=description.model) != description:
            raise UserError(f"{folder.uri} is not a model of the ensemble in {storage.uri}")
        network, head = _open_network(folder, own, described)
        members.append(Member(name, share, network))
    return LoadedModel(description, tuple(members), head)


def _read_config(storage: Storage) -> tuple[dict[str, Any], Description]:
    """The `config.json` of an exported folder, and the description in it."""
    try:
        config = read_json(storage.read(CONFIG))
        description = Description.from_config(config)
        if config["num_classes"] != len(description.labels):
            raise ValueError("classes without labels")
        if config["library_name"] not in ("timm", "torchvision"):
            raise ValueError("another library")
    except (FileNotFoundError, ValueError, KeyError, TypeError, IndexError):
        raise UserError(
            f"{storage.child(CONFIG).uri!r} does not describe an exported model; for the model of "
            "a search, name the run directory"
        ) from None
    return config, description


def _read_members(storage: Storage, config: Mapping[str, Any]) -> dict[str, float]:
    """Shares of an ensemble's members, by their folders."""
    try:
        listed = config["members"]
        if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_MEMBERS:
            raise ValueError(f"an ensemble has 1 to {MOST_MEMBERS} members")
        shares = {member["folder"]: float(member["share"]) for member in listed}
        if not all(map(_MEMBER.fullmatch, shares)):
            raise ValueError("a member's folder lies in that of the ensemble")
        if not all(map(math.isfinite, shares.values())) or min(shares.values()) <= 0:
            raise ValueError("shares are above 0")
        if len(shares) < len(listed) or abs(math.fsum(shares.values()) - 1) > 1e-3:
            raise ValueError("shares of different members sum to 1")
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(
            f"{storage.child(CONFIG).uri!r} does not describe an ensemble: {first_line(error)}"
        ) from None
    return shares


def _open_network(
    storage: Storage, config: Mapping[str, Any], description: Description
) -> tuple[nn.Module, Head]:
    """Load the network in a folder; gives the name of its classifier too.

    It is built as that of a run directory, from the description. No other file of the folder is
    read, and nothing is fetched.
    """
    from safetensors.torch import load

    if not storage.exists(WEIGHTS):
        raise UserError(f"{storage.uri} has no {WEIGHTS}")
    try:
        arguments = check_arguments(config, description)
        # GoogLeNet's argument, which follows from its pretrained weights; nothing is loaded here.
        weights = "pretrained" if arguments.get("transform_input") else "none"
        named = ModelConfig(name=description.model, weights=weights)
        network, head = load_network(named, load(storage.read(WEIGHTS)), description)
        stored = config["pretrained_cfg"].get("classifier")
        for name in stored if isinstance(stored, list) else [stored]:
            network.get_submodule(name)
    # The loaders raise errors of any kind: the file is damaged, or the library is another version.
    except Exception as error:
        raise UserError(f"cannot load {storage.uri!r}: {first_line(error)}") from None
    return network, head


def _write_timm_config(network: Any, head: Head, description: Description, path: Any) -> None:
    from timm.models._hub import save_config_for_hf  # the public function connects to the Hub

    before = network.pretrained_cfg
    kept = {k: v for k, v in before.items() if k not in _OF_PRETRAINED_WEIGHTS}
    network.pretrained_cfg = kept | _preprocessing(description, head) | {"pool_size": None}
    try:
        more = {
            "label_names": list(description.labels),
            "library_name": "timm",
            **_reading(description),
        }
        save_config_for_hf(network, path, model_config=more)
    finally:
        network.pretrained_cfg = before


def _write_torchvision_config(
    network: nn.Module, head: Head, description: Description, path: Path
) -> None:
    assert isinstance(head, str)  # torchvision's models have one classifier
    classifier = network.get_submodule(head)
    config = {
        "library_name": "torchvision",
        "architecture": description.architecture,
        "num_classes": len(description.labels),
        "num_features": getattr(classifier, "in_features", None)
        or getattr(classifier, "in_channels", None),
        "model_args": _torchvision_arguments(network, description),
        "label_names": list(description.labels),
        **_reading(description),
        "pretrained_cfg": _preprocessing(description, head),
    }
    _write_json(config, path)


def _write_json(values: Mapping[str, Any], path: Path) -> None:
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _reading(description: Description) -> dict[str, Any]:
    """The preprocessing for which timm has no name."""
    return {
        "fit": description.fit,
        "intensity": description.intensity,
        "max_pixels": description.max_pixels,
    }


def _preprocessing(description: Description, head: Head | None) -> dict[str, Any]:
    """The values of timm's `pretrained_cfg`: image preprocessing, and the classifier's name."""
    return {
        "input_size": [3, description.image_size, description.image_size],
        "interpolation": INTERPOLATION,
        "crop_pct": 1.0,
        "crop_mode": {"crop": "center", "pad": "border", "stretch": "squash"}[description.fit],
        "mean": list(description.mean),
        "std": list(description.std),
        "num_classes": len(description.labels),
        "classifier": head,
    }


def _torchvision_arguments(network: Any, description: Description) -> dict[str, Any]:
    """Arguments with which `torchvision.models.get_model` builds the same network."""
    from torchvision import models

    if isinstance(network, models.VisionTransformer):
        return {"image_size": description.image_size}
    if isinstance(network, models.GoogLeNet | models.Inception3):
        transform = bool(network.transform_input)
        return {"aux_logits": False, "init_weights": False, "transform_input": transform}
    return {}
