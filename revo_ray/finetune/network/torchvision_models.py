"""torchvision's models, with a new head."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from revo_ray.data.table.disk import file_sha256
from revo_ray.errors import first_line
from revo_ray.finetune.network.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone, state_without
from revo_ray.finetune.network.image_size import ImageSizeError
from revo_ray.finetune.network.reachable import why_no_download
from revo_ray.finetune.network.weight_files import weights_error
from revo_ray.finetune.network.weights import (
    Weights,
    load_matching,
    mismatch,
    named_for,
    unknown_variant,
    variant,
    weights_source,
)

_AUXILIARY = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}
"""Classifiers in the middle of two models. Their files hold them; fine-tuning does not use them."""


def load(
    name: str,
    weights: str,
    num_classes: int,
    seed: int,
    image_size: int | None,
    file: Path | None,
) -> Backbone:
    """Load a model under torchvision's own name. See `load_backbone`."""
    entry = _entry(name, variant(weights))
    model = _build(name, weights, entry, image_size)
    if file is None and variant(weights) is not None:
        source = _pretrained(name, entry)
    else:
        source = weights_source(str(file or weights), seed)
    head, old = _last_layer(model)
    tensors = named_for(model, source)
    if tensors is not None:
        if isinstance(model, models.DenseNet):
            tensors = {_densenet_key(key): tensor for key, tensor in tensors.items()}
        if isinstance(model, models.VisionTransformer) and "encoder.pos_embedding" in tensors:
            tensors = _interpolate(model, dict(tensors), source)
        load_matching(model, tensors, source, ignored=(head, *_AUXILIARY.get(name, ())))
    loaded = None if weights == "none" else state_without(model, (head,))

    model.set_submodule(head, _new_head(old, num_classes, seed))
    transforms = entry.transforms()
    mean = tuple(map(float, getattr(transforms, "mean", IMAGENET_MEAN)))
    std = tuple(map(float, getattr(transforms, "std", IMAGENET_STD)))
    return Backbone(
        f"torchvision/{name}",
        model,
        head,
        mean,
        std,
        source.label,
        source.sha256,
        source.revision,
        loaded,
        tuple(source.notes),
    )


def _entry(name: str, wanted: str | None) -> Any:
    """The member of a model's weights enum: the variant that is wanted, or the default."""
    known = models.get_model_weights(name)
    if wanted and wanted not in known.__members__:
        raise unknown_variant(f"torchvision/{name}", wanted, [each.name for each in known])
    return known[wanted] if wanted else known.DEFAULT


def _build(name: str, weights: str, entry: Any, image_size: int | None) -> nn.Module:
    options: dict[str, Any] = {}
    if name in _AUXILIARY:
        options = {"aux_logits": False, "init_weights": True, "transform_input": weights != "none"}
    if name.startswith("vit_"):
        own_size = entry.meta["min_size"][0] if variant(weights) is not None else 224
        options["image_size"] = image_size or own_size
    try:
        return models.get_model(name, weights=None, **options)
    except AssertionError as error:
        raise ImageSizeError(f"torchvision/{name}", image_size or 224, first_line(error)) from None


def _pretrained(name: str, entry: Any) -> Weights:
    """Torchvision's own weights of a model, downloaded if they are not here."""
    file = os.path.basename(urlparse(entry.url).path)
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    missing = None if path.exists() else why_no_download(entry.url)
    try:
        if missing:
            raise ConnectionError(missing)
        # The hash is checked when the file is downloaded, not when it is found.
        tensors = entry.get_state_dict(
            progress=False, check_hash=True, map_location="cpu", weights_only=True
        )
    # No network, no space, a wrong hash, a damaged file: each is an error of another module.
    except Exception as error:
        raise weights_error(
            f"cannot get the pretrained weights of torchvision/{name} ({first_line(error)}); "
            f"`curl -LO {entry.url}` gets them on a machine with a network: put {file} in "
            f"{path.parent} (TORCH_HOME moves it), or give a file"
        ) from None
    return Weights(tensors, f"torchvision {entry} ({file})", file_sha256(path))


def _interpolate(model: Any, tensors: dict[str, Tensor], source: Weights) -> dict[str, Tensor]:
    """Resize the position embedding of a vision transformer to the model's image size."""
    try:
        return dict(interpolate_embeddings(model.image_size, model.patch_size, tensors))
    except ValueError as error:
        raise mismatch(source, first_line(error)) from None


def _densenet_key(key: str) -> str:
    """DenseNet's files write `norm.1` for today's `norm1`; torchvision renames them likewise."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d+)\.", r"\1\2.", key)


def _last_layer(model: nn.Module) -> tuple[str, nn.Module]:
    """The classifier and its name: the last linear layer, or SqueezeNet's last convolution."""
    return [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ][-1]


def _new_head(old: nn.Module, num_classes: int, seed: int) -> nn.Module:
    torch.default_generator.manual_seed(seed)
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(old.in_channels, num_classes, kernel_size=1)
    assert isinstance(old, nn.Linear)
    return nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
