"""`methods` and `models`: names that a configuration may use."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from revo_ray.cli.console import errors, out, say
from revo_ray.cli.next_commands import after_methods, after_models, show_next
from revo_ray.errors import UserError
from revo_ray.settings.options import ByOptimizer
from revo_ray.settings.presets import preset_names


def methods(
    plugin: Annotated[
        list[str] | None, typer.Option(help="A module with more methods, beside `baselines`.")
    ] = None,
) -> None:
    """List the methods with their options, and the presets."""
    from revo_ray.methods import load_methods

    for name, method in sorted(load_methods(["baselines", *(plugin or [])]).items()):
        out.print(f"[bold]{escape(name)}[/]  {escape(method.summary())}")
        for key, field in method.Options.model_fields.items():
            marks = (mark for mark in field.metadata if isinstance(mark, ByOptimizer))
            default = next(marks, field.default)
            out.print(f"    method.{key}: {default}", markup=False, highlight=False)
    say(f"presets: {', '.join('preset:' + name for name in preset_names())}")
    studies = ", ".join("preset:" + name for name in preset_names("study"))
    say(f"presets of studies: {studies}")
    if errors.is_terminal:
        show_next(after_methods(), errors)


def models(
    pattern: Annotated[
        str | None, typer.Argument(help="Part of a name, e.g. resnet18. Default: all.")
    ] = None,
) -> None:
    """List the pretrained models by the names that `model.name` takes."""
    from revo_ray.finetune.network.backbone import list_models

    found = list_models(pattern)
    if not found:
        raise UserError(f"no model's name contains {pattern!r}; `revo-ray models` lists all")
    out.print("\n".join(found), markup=False, highlight=False)
    if errors.is_terminal:
        show_next(after_models(found[0]), errors)
