"""Pretrained models: their names; and one of them, with a new head and input normalisation."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from revo_ray.errors import UserError, first_line
from revo_ray.finetune.network.first_use import MISFITS, FirstUse, find_first_use
from revo_ray.finetune.network.image_size import ImageSizeError, check_border
from revo_ray.words import did_you_mean, nearest

Statistics = tuple[float, ...]
"""A value for each of the channels red, green and blue of images in 0 … 1."""

IMAGENET_MEAN: Statistics = (0.485, 0.456, 0.406)
IMAGENET_STD: Statistics = (0.229, 0.224, 0.225)


@dataclass
class Backbone:
    """A model ready to fine-tune.

    Attributes:
        name: `timm/NAME` or `torchvision/NAME`.
        model: maps normalised images (N, 3, H, W) to logits (N, num_classes). It is on the CPU and
            in training mode.
        head: qualified name of its new classifier, or names if it has several parts. In a network
            with two heads (distilled DeiT, say) their mean is the output, in training too.
        mean, std: statistics that normalise RGB images in 0 … 1.
        weights: description of the weights, for people.
        weights_sha256: hash of the weights file, or of the tensors if the file is not known (timm's
            own download); None for random weights.
        revision: commit of the Hugging Face Hub that the weights are from; None if they are not.
        loaded: the loaded tensors by the model's own names, without a head, before a position
            embedding was resized; None for random weights. Saved as a `.pth` file and loaded by
            `load_backbone`, they give this model again.
        notes: lines for people on the user's weight file: what of it was chosen or left out.
    """

    name: str
    model: nn.Module
    head: str | tuple[str, ...]
    mean: Statistics
    std: Statistics
    weights: str
    weights_sha256: str | None
    revision: str | None = None
    loaded: Mapping[str, Tensor] | None = None
    notes: tuple[str, ...] = ()


def load_backbone(
    name: str,
    weights: str,
    num_classes: int,
    *,
    seed: int = 0,
    image_size: int | None = None,
    file: Path | None = None,
    sha256: str | None = None,
) -> Backbone:
    """Load a model, give it a new classifier of `num_classes`, and say how its input is normalised.

    The head, and with `none` every weight, depends on `seed` alone. The caller's random state is
    left as it was.

    Args:
        name: `timm/NAME` or `torchvision/NAME`.
        weights: `pretrained` (the library's own weights, from TORCH_HOME or HF_HOME if they are
            there), `pretrained:VARIANT` (a member of torchvision's enum or a tag of timm's, which
            also decides how images are normalised), `none` (random weights), a file of torch or
            safetensors whose tensors match the model by name (`FILE#KEY`: one of several state
            dicts in it), or `package:NAME`, an installed Python package with one such file, matched
            by name or else in order and by shape.
        num_classes: outputs of the head.
        seed: of the head and of random weights.
        image_size: side of the images in pixels. The position embedding of a transformer is resized
            to it, and the model is tried on one image.
        file: a copy of the tensors that `weights` loads (`Backbone.loaded`), read in their place.
        sha256: that `weights_sha256` must be; None takes any.

    Raises:
        UserError: the name is unknown, the weights cannot be had, read or matched, or have another
            checksum, or the model cannot take the image size.
    """
    try:
        backbone = _load(name, weights, num_classes, seed, image_size, file)
    except ImageSizeError as error:
        raise error.with_nearest(lambda size: takes_whole(name, size)) from None
    if sha256 is not None and backbone.weights_sha256 != sha256:
        found = backbone.weights_sha256 or "none, they are random"
        raise UserError(
            f"the weights of {name} ({backbone.weights}) have the SHA-256 {found}, and {sha256} is "
            "demanded; get the right file, or change the key",
            key="model.sha256",
        )
    return backbone


def check_image_size(backbone: Backbone, image_size: int, use: FirstUse) -> None:
    """Refuse an image size whose border the model would drop.

    Args:
        use: the model's first use of its parameters, on images of that size.

    Raises:
        UserError: naming the nearest sizes that the model takes whole.
    """
    try:
        check_border(backbone.name, image_size, use)
    except ImageSizeError as error:
        raise error.with_nearest(lambda size: takes_whole(backbone.name, size)) from None


def _load(
    name: str,
    weights: str,
    num_classes: int,
    seed: int,
    image_size: int | None,
    file: Path | None = None,
) -> Backbone:
    library, known_name = split_name(name)
    # `torch.manual_seed` would also seed the GPUs' generators, which would have to be put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        # Each library takes a second to import.
        if library == "torchvision":
            from revo_ray.finetune.network.torchvision_models import load
        else:
            from revo_ray.finetune.network.timm_models import load
        backbone = load(known_name, weights, num_classes, seed, image_size, file)
        if image_size is not None:
            _try_image_size(backbone, image_size)
    return backbone


def takes_whole(name: str, image_size: int) -> bool:
    """Whether a model takes images of a size; it is built without memory for its weights."""
    try:
        with torch.device("meta"):
            backbone = _load(name, "none", 2, 0, image_size)
        check_border(name, image_size, find_first_use(backbone.model, image_size))
    except (UserError, *MISFITS):
        return False
    return True


def list_models(pattern: str | None = None) -> list[str]:
    """Names of the models that have pretrained weights, in alphabetical order.

    A timm model is listed without a tag, which means its default weights, and with each tag.

    Args:
        pattern: a glob over the whole name, or a part of it; None lists all.
    """
    import timm
    import torchvision

    names = {f"torchvision/{n}" for n in torchvision.models.list_models(torchvision.models)}
    for tagged in timm.list_models(pretrained=True):
        names.update((f"timm/{tagged}", f"timm/{tagged.partition('.')[0]}"))
    if pattern is None:
        return sorted(names)
    glob = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    return sorted(fnmatch.filter(names, glob))


def state_without(model: nn.Module, modules: Sequence[str]) -> Mapping[str, Tensor]:
    """The state dict without some modules. It keeps the versions of the other modules."""
    state: Any = model.state_dict()
    for key in [key for key in state if key.startswith(tuple(f"{module}." for module in modules))]:
        del state[key]
    return cast(Mapping[str, Tensor], state)


def split_name(name: str) -> tuple[str, str]:
    """The library of a model and its own name for it; an error names similar models."""
    library, _, model = name.partition("/")
    if library == "torchvision":
        import torchvision

        if model in torchvision.models.list_models(torchvision.models):
            return library, model
    if library == "timm":
        import timm

        if timm.is_model(model):
            with suppress(RuntimeError):  # the model has no such tag
                timm.get_pretrained_cfg(model)
                return library, model
    hint = did_you_mean(_near(name)) or "; `revo-ray models` lists them"
    raise UserError(f"no model {name!r}{hint}", key="model.name")


def _near(name: str) -> list[str]:
    """The names of models that are near one, or near it without the library."""
    by_own: dict[str, list[str]] = {}
    for known in list_models():
        by_own.setdefault(known.partition("/")[2], []).append(known)
    library, _, own = name.rpartition("/")
    near = nearest(name, [known for names in by_own.values() for known in names]) if library else []
    return near or [known for each in nearest(own, by_own) for known in by_own[each]][:3]


def _try_image_size(backbone: Backbone, image_size: int) -> None:
    model = backbone.model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, 3, image_size, image_size))
    except MISFITS as error:
        raise ImageSizeError(backbone.name, image_size, first_line(error)) from None
    model.train()
