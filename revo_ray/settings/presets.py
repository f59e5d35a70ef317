"""Configurations that come with the package, named `preset:NAME`."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Literal

from revo_ray.errors import UserError
from revo_ray.words import did_you_mean, nearest, shown

Kind = Literal["search", "study"]


def preset_names(kind: Kind = "search") -> list[str]:
    """The names of the presets, sorted."""
    files = (file.name for file in _folder(kind).iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def read_preset(name: str, kind: Kind) -> str:
    """Read the YAML text of a preset.

    Raises:
        UserError: there is no such preset.
    """
    if name not in preset_names(kind):
        known = preset_names(kind)
        hint = did_you_mean([f"preset:{near}" for near in nearest(name, known)])
        raise UserError(f"no preset {shown(name)} of a {kind}{hint} (there are {', '.join(known)})")
    return (_folder(kind) / f"{name}.yaml").read_text("utf-8")


def _folder(kind: Kind) -> Traversable:
    folder = resources.files("revo_ray") / "presets"
    return folder / "studies" if kind == "study" else folder
