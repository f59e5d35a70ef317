"""Licence and source of pretrained weights, as their library or package states them."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

from revo_ray.settings.schema import ModelConfig


def licence_of(model: ModelConfig) -> dict[str, str] | None:
    """Licence and source of the weights that a model starts from; None if nobody states them.

    Weights of a file are only known by its name, and random weights need no licence.
    """
    library, _, name = model.name.partition("/")
    kind, _, variant = model.weights.partition(":")
    if kind == "package":
        return _of_package(re.sub(r"[^\w.-]", "", variant))
    if kind != "pretrained":
        return None
    try:
        return (_of_timm if library == "timm" else _of_torchvision)(name, variant)
    except (LookupError, ValueError, RuntimeError):  # another version of the library lacks them
        return None


def _of_timm(name: str, variant: str) -> dict[str, str] | None:
    import timm

    tagged = f"{name.partition('.')[0]}.{variant}" if variant else name
    found: Any = timm.get_pretrained_cfg(tagged)
    if found is None:
        return None
    source = found.hf_hub_id or found.url or found.origin_url
    stated = {"licence of the weights": found.license or "timm states none: look at their source"}
    places = {"source of the weights": source, "made by": found.origin_url, "paper": _paper(found)}
    return stated | {key: str(value) for key, value in places.items() if value}


def _paper(found: Any) -> str | None:
    papers = found.paper_ids
    return papers if isinstance(papers, str) or papers is None else ", ".join(papers)


def _of_torchvision(name: str, variant: str) -> dict[str, str]:
    from torchvision import models

    weights: Any = models.get_model_weights(name)
    found = weights[variant or "DEFAULT"]
    return {
        "licence of the weights": "torchvision states none for each; its own is BSD-3-Clause",
        "weights": f"`{type(found).__name__}.{found.name}`",
        "source of the weights": found.url,
        "recipe": str(found.meta.get("recipe", "not stated")),
    }


def _of_package(package: str) -> dict[str, str]:
    try:
        stated: Any = metadata.metadata(package.replace("_", "-"))
    except metadata.PackageNotFoundError:
        return {"source of the weights": f"the package `{package}`"}
    licence = stated.get("License-Expression") or stated.get("License") or "the package states none"
    return {
        "licence of the weights": " ".join(licence.split())[:200],
        "source of the weights": f"the package `{package}` {stated['Version']}",
    }
