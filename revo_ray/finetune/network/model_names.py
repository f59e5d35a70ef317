"""Names of models: `timm/NAME` and `torchvision/NAME`."""

from __future__ import annotations

import difflib
import fnmatch
from contextlib import suppress

from revo_ray.errors import UserError


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


def split_name(name: str) -> tuple[str, str]:
    """The library and its own name of a model.

    Raises:
        UserError: neither library has the model; the message names similar ones.
    """
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
    near = difflib.get_close_matches(name, list_models(), n=3)
    if not near:
        near = [known for known in list_models() if known.endswith(f"/{model}")][:3]
    hint = f"; the nearest are {', '.join(near)}" if near else "; `revo-ray models` lists them"
    raise UserError(f"no model {name!r}{hint}", key="model.name")
