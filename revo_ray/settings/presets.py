"""Configurations that come with the package, named `preset:NAME`."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Literal

from revo_ray.errors import UserError
from revo_ray.words import shown

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
        known = ", ".join(preset_names(kind))
        raise UserError(f"no preset {shown(name)} of a {kind}; there are {known}")
    return (_folder(kind) / f"{name}.yaml").read_text("utf-8")


def _folder(kind: Kind) -> Traversable:
    folder = resources.files("revo_ray") / "presets"
    return folder / "studies" if kind == "study" else folder
