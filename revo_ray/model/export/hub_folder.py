"""Export to a folder of weights and configuration, in the layout of the Hugging Face Hub.

timm loads it by itself; the model card has the lines that load it with torchvision.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from revo_ray.errors import UserError, first_line
from revo_ray.finetune.network.weights import load_own
from revo_ray.model.classifier import Classifier, Normalised, torch_classifier
from revo_ray.model.description import INTERPOLATION, Description
from revo_ray.model.load import LoadedModel

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
README = "README.md"

_OF_PRETRAINED_WEIGHTS = (
    *("url", "file", "hf_hub_id", "hf_hub_filename", "source", "tag", "custom_load"),
    *("test_input_size", "min_input_size", "test_crop_pct", "test_pool_size"),
    *("label_offset", "label_names", "label_descriptions"),
    *("license", "description", "origin_url", "paper_name", "paper_ids", "notes"),
)
"""Keys of timm's configuration that describe the pretrained weights, not the fine-tuned ones."""


def write_folder(model: LoadedModel, folder: Path, card: str) -> None:
    """Write `model.safetensors`, `config.json` and `README.md` into a new folder."""
    from safetensors.torch import save_file

    folder.mkdir()
    # safetensors refuses a tensor under two names, as CoaT's shared layers have it.
    state = model.network.state_dict()
    tensors = {name: t.clone(memory_format=torch.contiguous_format) for name, t in state.items()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    is_timm = model.description.library == "timm"
    (_write_timm_config if is_timm else _write_torchvision_config)(model, folder / CONFIG)
    (folder / README).write_text(card, encoding="utf-8")


def open_folder(folder: Path) -> Classifier:
    """Load an exported folder as its library does.

    Raises:
        UserError: it is no exported folder, or a file of it is damaged.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        description = Description.from_config(config)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        raise UserError(
            f"{str(folder / CONFIG)!r} does not describe an exported model; for the model of a "
            "search, name the run directory"
        ) from None
    try:
        network = _load(folder, config)
    # The loaders raise errors of any kind: the file is damaged, or the library is another version.
    except Exception as error:
        raise UserError(f"cannot load {str(folder)!r}: {first_line(error)}") from None
    return torch_classifier(Normalised(network.eval(), description), description)


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
    load_own(made, load_file(folder / WEIGHTS))
    return made


def _write_timm_config(model: LoadedModel, path: Any) -> None:
    from timm.models._hub import save_config_for_hf  # the public function connects to the Hub

    network: Any = model.network
    before = network.pretrained_cfg
    kept = {k: v for k, v in before.items() if k not in _OF_PRETRAINED_WEIGHTS}
    network.pretrained_cfg = kept | _preprocessing(model) | {"pool_size": None}
    try:
        more = {
            "label_names": list(model.description.labels),
            "library_name": "timm",
            **_intensities(model.description),
        }
        save_config_for_hf(network, path, model_config=more)
    finally:
        network.pretrained_cfg = before


def _write_torchvision_config(model: LoadedModel, path: Path) -> None:
    description = model.description
    assert isinstance(model.head, str)  # torchvision's models have one classifier
    head = model.network.get_submodule(model.head)
    config = {
        "library_name": "torchvision",
        "architecture": description.architecture,
        "num_classes": len(description.labels),
        "num_features": getattr(head, "in_features", None) or getattr(head, "in_channels", None),
        "model_args": _torchvision_arguments(model.network, description),
        "label_names": list(description.labels),
        **_intensities(description),
        "pretrained_cfg": _preprocessing(model),
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _intensities(description: Description) -> dict[str, Any]:
    """The preprocessing for which timm has no name."""
    return {"fit": description.fit, "intensity": description.intensity}


def _preprocessing(model: LoadedModel) -> dict[str, Any]:
    """The values of timm's `pretrained_cfg`: image preprocessing, and the classifier's name."""
    description = model.description
    return {
        "input_size": [3, description.image_size, description.image_size],
        "interpolation": INTERPOLATION,
        "crop_pct": 1.0,
        "crop_mode": {"crop": "center", "pad": "border", "stretch": "squash"}[description.fit],
        "mean": list(description.mean),
        "std": list(description.std),
        "num_classes": len(description.labels),
        "classifier": model.head,
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
