"""A pretrained model by name or from a file, with a new head and its input normalisation."""

import difflib
import fnmatch
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from revo_ray.errors import UserError
from revo_ray.finetune.network.weights import (
    Weights,
    first_line,
    load_matching,
    mismatch,
    named_for,
    timm_pretrained,
    torchvision_pretrained,
    weights_source,
)

Statistics = tuple[float, float, float]

_IMAGENET_MEAN: Statistics = (0.485, 0.456, 0.406)
_IMAGENET_STD: Statistics = (0.229, 0.224, 0.225)
# torchvision's two models with classifiers in the middle; their files hold these, training here
# does not use them.
_AUXILIARY = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}


@dataclass
class Backbone:
    """A model ready to fine-tune.

    `model` maps normalised images (N, 3, H, W) to logits (N, num_classes), is on the CPU and in
    training mode. `head` is the qualified name of its new classifier. `mean` and `std` normalise
    RGB in [0, 1]. `weights` says in words what was loaded. `weights_sha256` is the hash of the
    file, or of the loaded tensors where the file is not known (timm's own download), or None for
    random weights. `loaded` is what it was filled with, by the model's own names and without a
    head, before a position embedding was resized: saved as a `.pth` file and loaded by
    `load_backbone`, it gives this model again. It is None for random weights.
    """

    name: str
    model: nn.Module
    head: str
    mean: Statistics
    std: Statistics
    weights: str
    weights_sha256: str | None
    loaded: Mapping[str, Tensor] | None = None


def load_backbone(
    name: str, weights: str, num_classes: int, *, seed: int = 0, image_size: int | None = None
) -> Backbone:
    """Load a model, give it a new classifier of `num_classes`, and say how its input is normalised.

    `name` is `timm/NAME` or `torchvision/NAME`. `weights` is `pretrained` (the library's own, which
    looks in TORCH_HOME or HF_HOME first), `none`, a `.pth`, `.pt`, `.bin` or `.safetensors` file
    whose tensors match the model by name, or `package:NAME`, an installed Python package that
    carries one such file, matched by name or else in order and by shape.

    The head, and with `none` every weight, depends on `seed` alone; the caller's random state is
    left as it was. `image_size` (pixels, square) resizes the position embedding of a transformer,
    and is tried on one image.

    Raises `UserError` for an unknown name, weights that cannot be had, read or matched, and an
    image size that the model cannot take.
    """
    library, known_name = _resolve(name)
    with _seeded(seed):
        if library == "torchvision":
            backbone = _load_torchvision(known_name, weights, num_classes, seed, image_size)
        else:
            backbone = _load_timm(known_name, weights, num_classes, seed, image_size)
        if image_size is not None:
            _try_image_size(backbone, image_size)
    return backbone


def list_models(pattern: str | None = None) -> list[str]:
    """Name the models that have pretrained weights, in alphabetical order.

    `pattern` is a glob over the whole name, or a part of it. A timm name stands without a tag,
    which means its default weights, and with each tag.
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


def _load_torchvision(
    name: str, weights: str, num_classes: int, seed: int, image_size: int | None
) -> Backbone:
    from torchvision import models

    default = models.get_model_weights(name).DEFAULT
    options: dict[str, Any] = {}
    if name in _AUXILIARY:
        options = {
            "aux_logits": False,
            "init_weights": True,
            "transform_input": weights != "none",
        }
    if name.startswith("vit_"):
        own_size = default.meta["min_size"][0] if weights == "pretrained" else 224
        options["image_size"] = image_size or own_size
    try:
        model = models.get_model(name, weights=None, **options)
    except AssertionError as error:
        raise UserError(
            f"torchvision/{name} takes no images of {image_size} px: {error}", key="data.image_size"
        ) from None

    if weights == "pretrained":
        source = torchvision_pretrained(name, default)
    else:
        source = weights_source(weights, seed)
    head, old = _last_layer(model)
    tensors = named_for(model, source)
    if tensors is not None:
        if isinstance(model, models.DenseNet):
            tensors = {_densenet_key(key): tensor for key, tensor in tensors.items()}
        position = tensors.get("encoder.pos_embedding")
        if isinstance(model, models.VisionTransformer) and position is not None:
            tensors = _interpolate(model, dict(tensors), source)
        load_matching(model, tensors, source, ignored=(head, *_AUXILIARY.get(name, ())))
    loaded = None if weights == "none" else _without(model, (head,))

    _set_module(model, head, _new_head(old, num_classes, seed))
    transforms = default.transforms()
    return Backbone(
        name=f"torchvision/{name}",
        model=model,
        head=head,
        mean=_three(getattr(transforms, "mean", _IMAGENET_MEAN)),
        std=_three(getattr(transforms, "std", _IMAGENET_STD)),
        weights=source.label,
        weights_sha256=source.sha256,
        loaded=loaded,
    )


def _load_timm(
    name: str, weights: str, num_classes: int, seed: int, image_size: int | None
) -> Backbone:
    import timm

    model: Any
    if weights == "pretrained":
        model, source = timm_pretrained(name)
    else:
        source = weights_source(weights, seed)
        model = timm.create_model(name)
    tensors = named_for(model, source)
    if tensors is not None:
        load_matching(model, tensors, source, ignored=_timm_heads(model))
    loaded = None if weights == "none" else _without(model, _timm_heads(model))

    if image_size is not None:
        _resize_timm(model, name, image_size)
    torch.default_generator.manual_seed(seed)
    model.reset_classifier(num_classes)
    heads = _timm_heads(model)
    if len(heads) != 1:
        raise UserError(
            f"timm/{name} has {len(heads)} classifiers, not one; choose another model",
            key="model.name",
        )
    return Backbone(
        name=f"timm/{name}",
        model=model,
        head=heads[0],
        mean=_three(model.pretrained_cfg.get("mean", _IMAGENET_MEAN)),
        std=_three(model.pretrained_cfg.get("std", _IMAGENET_STD)),
        weights=source.label,
        weights_sha256=source.sha256,
        loaded=loaded,
    )


def _without(model: nn.Module, heads: tuple[str, ...]) -> Mapping[str, Tensor]:
    """The state dict as it is, with the modules' versions, but for the heads."""
    state: Any = model.state_dict()
    kept: Any = OrderedDict(
        (key, tensor)
        for key, tensor in state.items()
        if not any(key.startswith(f"{head}.") for head in heads)
    )
    kept._metadata = state._metadata
    return cast(Mapping[str, Tensor], kept)


def _resolve(name: str) -> tuple[str, str]:
    """Split `library/model`, or say which known names are near."""
    library, _, model = name.partition("/")
    if library == "torchvision":
        import torchvision

        if model in torchvision.models.list_models(torchvision.models):
            return library, model
    if library == "timm":
        import timm

        if timm.is_model(model) and _timm_tag_exists(model):
            return library, model
    near = difflib.get_close_matches(name, list_models(), n=3)
    if not near:
        near = [known for known in list_models() if known.endswith(f"/{model}")][:3]
    hint = f"; the nearest are {', '.join(near)}" if near else "; `revo-ray models` lists them"
    raise UserError(f"no model {name!r}{hint}", key="model.name")


def _timm_tag_exists(name: str) -> bool:
    import timm

    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:
        return False
    return True


def _interpolate(model: Any, tensors: dict[str, Tensor], source: Weights) -> dict[str, Tensor]:
    from torchvision.models.vision_transformer import interpolate_embeddings

    try:
        return dict(interpolate_embeddings(model.image_size, model.patch_size, tensors))
    except ValueError as error:
        raise mismatch(source, first_line(error)) from None


def _resize_timm(model: Any, name: str, image_size: int) -> None:
    config = model.pretrained_cfg
    if tuple(config["input_size"][-2:]) == (image_size, image_size):
        return
    try:
        if hasattr(model, "set_input_size"):
            model.set_input_size(img_size=(image_size, image_size))
            return
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"timm/{name} takes no images of {image_size} px: {first_line(error)}",
            key="data.image_size",
        ) from None
    if config.get("fixed_input_size"):
        raise UserError(
            f"timm/{name} takes images of {config['input_size'][-1]} px only, not {image_size}",
            key="data.image_size",
        )


def _try_image_size(backbone: Backbone, image_size: int) -> None:
    model = backbone.model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, 3, image_size, image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{backbone.name} takes no images of {image_size} px: {first_line(error)}",
            key="data.image_size",
        ) from None
    model.train()


def _last_layer(model: nn.Module) -> tuple[str, nn.Module]:
    """The classifier of a torchvision model: its last linear layer, or SqueezeNet's convolution."""
    return [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ][-1]


def _timm_heads(model: Any) -> tuple[str, ...]:
    """The names of a timm model's classifiers: two in a distilled one, none in one without."""
    found = model.get_classifier()
    classifiers = found if isinstance(found, tuple | list) else (found,)
    return tuple(
        path
        for path, module in model.named_modules()
        if any(module is classifier for classifier in classifiers)
        and not isinstance(module, nn.Identity)
    )


def _new_head(old: nn.Module, num_classes: int, seed: int) -> nn.Module:
    torch.default_generator.manual_seed(seed)
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(old.in_channels, num_classes, kernel_size=1)
    assert isinstance(old, nn.Linear)
    return nn.Linear(old.in_features, num_classes, bias=old.bias is not None)


def _set_module(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def _densenet_key(key: str) -> str:
    """DenseNet's files write `norm.1` for today's `norm1`; torchvision renames them likewise."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d+)\.", r"\1\2.", key)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's generator, and put it back afterwards."""
    # `torch.manual_seed` would also seed the GPUs' generators, which would have to be put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _three(values: Any) -> Statistics:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
