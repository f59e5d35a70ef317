"""A folder of weights and configuration, which timm or torchvision load by themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from revo_ray.errors import UserError
from revo_ray.finetune.network.weights import first_line
from revo_ray.model.export.classifier import Classifier, Normalised, TorchClassifier
from revo_ray.model.export.description import INTERPOLATION, Description
from revo_ray.model.export.searched import Searched

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
README = "README.md"

_OF_OTHER_WEIGHTS = (
    *("url", "file", "hf_hub_id", "hf_hub_filename", "source", "tag", "custom_load"),
    *("test_input_size", "min_input_size", "test_crop_pct", "test_pool_size"),
    *("label_offset", "label_names", "label_descriptions"),
    *("license", "description", "origin_url", "paper_name", "paper_ids", "notes"),
)
"""What timm knows of the weights that a model comes with, and what is not true of these."""


def write_folder(searched: Searched, folder: Path, card: str) -> None:
    """Write `model.safetensors`, `config.json` and `README.md` into an existing folder."""
    from safetensors.torch import save_file

    tensors = {name: t.contiguous() for name, t in searched.network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    is_timm = searched.description.library == "timm"
    (_write_timm_config if is_timm else _write_torchvision_config)(searched, folder / CONFIG)
    (folder / README).write_text(card, encoding="utf-8")


def open_folder(folder: Path) -> Classifier:
    """Load an exported folder as its library does.

    Raises:
        UserError: it is none, or damaged.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        description = Description.from_config(config)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        raise UserError(
            f"{str(folder / CONFIG)!r} is not that of an exported model; of a search, name the run "
            "directory"
        ) from None
    try:
        network = _load(folder, config)
    # A damaged file, or a library of another age, makes the loaders raise almost anything.
    except Exception as error:
        raise UserError(f"cannot load {str(folder)!r}: {first_line(error)}") from None
    return TorchClassifier(Normalised(network.eval(), description), description)


def _load(folder: Path, config: dict[str, Any]) -> nn.Module:
    if config["library_name"] == "timm":
        import timm

        network: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
        return network
    from safetensors.torch import load_file
    from torchvision import models

    made: nn.Module = models.get_model(
        config["architecture"], num_classes=config["num_classes"], **config["model_args"]
    )
    made.load_state_dict(load_file(folder / WEIGHTS))
    return made


def _write_timm_config(searched: Searched, path: Any) -> None:
    from timm.models._hub import save_config_for_hf  # the public one wants to reach the Hub

    network: Any = searched.network
    before = network.pretrained_cfg
    kept = {k: v for k, v in before.items() if k not in _OF_OTHER_WEIGHTS}
    network.pretrained_cfg = kept | _input(searched) | {"pool_size": None}
    try:
        more = {"label_names": list(searched.description.labels), "library_name": "timm"}
        save_config_for_hf(network, path, model_config=more)
    finally:
        network.pretrained_cfg = before


def _write_torchvision_config(searched: Searched, path: Path) -> None:
    description = searched.description
    head = searched.network.get_submodule(searched.head)
    config = {
        "library_name": "torchvision",
        "architecture": description.architecture,
        "num_classes": len(description.labels),
        "num_features": getattr(head, "in_features", None) or getattr(head, "in_channels", None),
        "model_args": _torchvision_arguments(searched.network, description),
        "label_names": list(description.labels),
        "pretrained_cfg": _input(searched),
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _input(searched: Searched) -> dict[str, Any]:
    """What timm calls the pretrained configuration: of the images, and of the classifier."""
    description = searched.description
    return {
        "input_size": [3, description.image_size, description.image_size],
        "interpolation": INTERPOLATION,
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": list(description.mean),
        "std": list(description.std),
        "num_classes": len(description.labels),
        "classifier": searched.head,
    }


def _torchvision_arguments(network: Any, description: Description) -> dict[str, Any]:
    """What `torchvision.models.get_model` needs to build the same network without weights."""
    from torchvision import models

    if isinstance(network, models.VisionTransformer):
        return {"image_size": description.image_size}
    if isinstance(network, models.GoogLeNet | models.Inception3):
        transform = bool(network.transform_input)
        return {"aux_logits": False, "init_weights": False, "transform_input": transform}
    return {}
