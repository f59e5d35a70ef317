"""timm's models, with a new head."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import timm
import torch
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from revo_ray.data.table.disk import file_sha256
from revo_ray.errors import UserError, first_line
from revo_ray.finetune.network.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone, state_without
from revo_ray.finetune.network.first_use import MISFITS
from revo_ray.finetune.network.image_size import ImageSizeError
from revo_ray.finetune.network.reachable import (
    REQUEST_S,
    why_no_download,
    why_unreachable,
)
from revo_ray.finetune.network.weight_files import weights_error
from revo_ray.finetune.network.weights import (
    Weights,
    load_matching,
    named_for,
    unknown_variant,
    variant,
    weights_source,
)


def load(
    name: str,
    weights: str,
    num_classes: int,
    seed: int,
    image_size: int | None,
    file: Path | None,
) -> Backbone:
    """Load a model under timm's own name. See `load_backbone`."""
    model: Any
    tagged = _tagged(name, variant(weights))
    if file is None and variant(weights) is not None:
        model, source = _pretrained(tagged)
    else:
        source = weights_source(str(file or weights), seed)
        model = timm.create_model(tagged)
    tensors = named_for(model, source)
    if tensors is not None:
        load_matching(model, tensors, source, ignored=_heads(model))
    loaded = None if weights == "none" else state_without(model, _heads(model))

    if image_size is not None:
        model = _resized(model, tagged, image_size)
    pretrained = set(model.parameters())
    torch.default_generator.manual_seed(seed)
    model.reset_classifier(num_classes)
    heads = _new_heads(model, pretrained)
    if not heads:
        raise UserError(
            f"timm/{name} has no classifier; choose another model",
            key="model.name",
        )
    mean = tuple(map(float, model.pretrained_cfg.get("mean", IMAGENET_MEAN)))
    std = tuple(map(float, model.pretrained_cfg.get("std", IMAGENET_STD)))
    return Backbone(
        f"timm/{name}",
        model,
        heads[0] if len(heads) == 1 else heads,
        mean,
        std,
        source.label,
        source.sha256,
        source.revision,
        loaded,
        tuple(source.notes),
    )


def _tagged(name: str, tag: str | None) -> str:
    """The name with the tag of a variant of its weights."""
    if not tag:
        return name
    architecture, _, own = name.partition(".")
    if own not in ("", tag):
        raise weights_error(f"timm/{name} already names the weights {own!r}, not {tag!r}")
    known = timm.list_pretrained(f"{architecture}.*")
    if f"{architecture}.{tag}" not in known:
        tags = [each.partition(".")[2] for each in known]
        raise unknown_variant(f"timm/{architecture}", tag, tags)
    return f"{architecture}.{tag}"


def configured(name: str) -> Any:
    """timm's configuration of a model's weights.

    Raises:
        UserError: it has none.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise weights_error(f"timm/{name} has no pretrained weights; give a file")
    return config


def _pretrained(name: str) -> tuple[nn.Module, Weights]:
    """A model that timm built and filled with its own weights, downloaded if they are not here."""
    config = configured(name)
    place = config.hf_hub_id or config.url
    # Without the file's name timm asks the hub about it every time: half a minute of retries on a
    # node without a network.
    file = hub_file(config)
    overlay = None if file is None else {"file": str(file)}
    missing = None if file is not None else why_missing(config)
    try:
        with _offline(missing is not None):
            model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    # The hub's client raises the errors of its HTTP library, which differ between its versions.
    except Exception as error:
        raise weights_error(
            f"cannot get the pretrained weights of timm/{name} ({missing or first_line(error)}); "
            f"{_way_out(config)}"
        ) from None
    file = file or hub_file(config)
    sha256 = _tensors_sha256(model.state_dict()) if file is None else file_sha256(file)
    # The cache keeps a file of the Hub as snapshots/COMMIT/NAME.
    revision = None if file is None else file.parent.name
    return model, Weights(None, f"timm {place}", sha256, revision)


def hub_file(config: Any) -> Path | None:
    """The weights in the Hugging Face cache, if they are one plain safetensors file."""
    name = _hub_name(config)
    plain = config.hf_hub_id and "@" not in config.hf_hub_id and not config.custom_load
    if not plain or not name.endswith(".safetensors"):
        return None
    found = try_to_load_from_cache(config.hf_hub_id, name)
    return Path(found) if isinstance(found, str) else None


def why_missing(config: Any) -> str | None:
    """Why the server of a model's weights cannot be asked for them; None if it answers.

    The hub's client tries again for a minute, and torch's waits for a server that says nothing.
    """
    if not config.hf_hub_id:
        cached = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(config.url).name
        return None if cached.exists() else why_no_download(config.url)
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, and they are not in the cache"
    repository, _, revision = config.hf_hub_id.partition("@")
    url = hf_hub_url(repository, _hub_name(config), revision=revision or None)
    cause = why_unreachable(lambda: get_hf_file_metadata(url, timeout=REQUEST_S))
    return cause and f"{urlsplit(url).hostname} cannot be reached: {cause}"


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    """Keep the hub's client from asking a server that does not answer; it still has its cache."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _way_out(config: Any) -> str:
    """The command that gets a model's weights elsewhere, and the place to put them here."""
    if not config.hf_hub_id:
        return (
            f"`curl -LO {config.url}` gets them on a machine with a network: put the file in "
            f"{torch.hub.get_dir()}/checkpoints (TORCH_HOME moves it), or give it as model.weights"
        )
    repository, _, revision = config.hf_hub_id.partition("@")
    name = _hub_name(config)
    at = f" --revision {revision}" if revision else ""
    folder = f"models--{repository.replace('/', '--')}"
    return (
        f"`hf download {repository} {name}{at}` gets them on a machine with a network: put the "
        f"folder {folder} of its cache in {constants.HF_HUB_CACHE} (HF_HOME moves it), or give "
        f"the file {name} as model.weights"
    )


def _hub_name(config: Any) -> str:
    return str(config.hf_hub_filename or "model.safetensors")


def _tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].detach().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _resized(model: Any, name: str, image_size: int) -> Any:
    """The model, or another with the same weights, that takes images of that side."""
    config, size = model.pretrained_cfg, (image_size, image_size)
    if tuple(config["input_size"][-2:]) == size:
        return model
    if hasattr(model, "set_input_size"):
        try:
            model.set_input_size(img_size=size)
        except MISFITS as error:
            raise ImageSizeError(f"timm/{name}", image_size, first_line(error)) from None
    elif config.get("fixed_input_size"):
        try:
            other: Any = timm.create_model(name, img_size=image_size)
            other.load_state_dict(_state_for(other, model.state_dict()))
        except MISFITS:
            raise UserError(
                f"timm/{name} takes images of {config['input_size'][-1]} px only, not {image_size}",
                key="data.image_size",
            ) from None
        return other
    return model


def _state_for(model: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The state of a network of another image size, with position embeddings of the model's size.

    Raises:
        ValueError: a parameter that is no position embedding has another shape.
    """
    found: dict[str, Tensor] = {}
    parameters = {name for name, _ in model.named_parameters()}
    for name, tensor in model.state_dict().items():
        old = state[name]
        if old.shape == tensor.shape:
            found[name] = old
        elif "pos_embed" in name:
            found[name] = _resample(old, tensor.shape)
        elif name in parameters:
            raise ValueError(f"{name} has another shape")
        else:  # an index of positions, which follows from the size
            found[name] = tensor
    return found


def _resample(embedding: Tensor, shape: Sequence[int]) -> Tensor:
    """A position embedding at another shape: of rows and columns, or of tokens in a square.

    Raises:
        ValueError: the tokens are no square.
    """
    axes = [axis for axis, size in enumerate(shape) if embedding.shape[axis] != size]
    old, new = ([sizes[axis] for axis in axes] for sizes in (embedding.shape, shape))
    prefix = 0
    if len(axes) == 1:  # of tokens, perhaps behind class tokens
        squares = ([math.isqrt(n[0] - p) ** 2 == n[0] - p for p in range(3)] for n in (old, new))
        prefix = [a and b for a, b in zip(*squares, strict=True)].index(True)
        old, new = ([math.isqrt(n[0] - prefix)] * 2 for n in (old, new))
    tokens = embedding.movedim(axes, list(range(len(axes))))
    rest = tokens.shape[len(axes) :]
    made = resample_abs_pos_embed(tokens.reshape(1, -1, rest.numel()), new, old, prefix)
    sizes = [shape[axis] for axis in axes]
    return made.reshape(*sizes, *rest).movedim(list(range(len(axes))), axes)


def _new_heads(model: Any, pretrained: Set[nn.Parameter]) -> tuple[str, ...]:
    """The classifiers, and other modules that are new: an auxiliary head, a norm in the head."""

    def all_new(path: str) -> bool:
        return pretrained.isdisjoint(model.get_submodule(path).parameters())

    heads = [head for head in _heads(model) if all_new(head)]
    for path, module in model.named_modules():
        own = set(module.parameters(recurse=False))
        if own <= pretrained or any(f"{path}.".startswith(f"{h}.") for h in heads):
            continue
        while (parent := path.rpartition(".")[0]) and all_new(parent):
            path = parent
        heads = [head for head in heads if not head.startswith(f"{path}.")] + [path]
    return tuple(heads)


def _heads(model: Any) -> tuple[str, ...]:
    """The names of the classifiers: two in a distilled model, none in one without a classifier."""
    found = model.get_classifier()
    classifiers = found if isinstance(found, tuple | list) else (found,)
    return tuple(
        path
        for path, module in model.named_modules()
        if any(module is classifier for classifier in classifiers)
        and not isinstance(module, nn.Identity)
    )
