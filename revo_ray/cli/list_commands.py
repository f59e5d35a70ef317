"""`methods` and `models`: names that a configuration may use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic_core import to_jsonable_python
from rich.markup import escape

from revo_ray.cli.console import errors, out, say, tell
from revo_ray.cli.next_commands import after_methods, after_models, show_next
from revo_ray.cli.parameters import AsJson, PluginPath
from revo_ray.errors import UserError
from revo_ray.settings.options import ByOptimizer
from revo_ray.settings.presets import preset_names

if TYPE_CHECKING:
    from revo_ray.methods import Method


def methods(
    plugin: Annotated[
        list[str] | None, typer.Option(help="A module with more methods, beside `baselines`.")
    ] = None,
    plugin_path: PluginPath = None,
    as_json: AsJson = False,
) -> None:
    """List the methods with their options, and the presets."""
    from revo_ray.methods import load_methods
    from revo_ray.methods.plugins import trusting

    with trusting(plugin_path):
        found = sorted(load_methods(["baselines", *(plugin or [])]).items())
    if as_json:
        listed = [
            {
                "name": name,
                "summary": method.summary(),
                "options": {key: to_jsonable_python(value, fallback=str) for key, value in options},
            }
            for name, method in found
            for options in [_options(method)]
        ]
        presets = {"presets": preset_names(), "study_presets": preset_names("study")}
        tell({"methods": listed, **presets})
        return
    for name, method in found:
        out.print(f"[bold]{escape(name)}[/]  {escape(method.summary())}", soft_wrap=True)
        for key, default in _options(method):
            say(f"    method.{key}: {default}")
    say(f"presets: {', '.join('preset:' + name for name in preset_names())}")
    studies = ", ".join("preset:" + name for name in preset_names("study"))
    say(f"presets of studies: {studies}")
    if errors.is_terminal:
        show_next(after_methods(), errors)


def _options(method: type[Method]) -> Iterator[tuple[str, Any]]:
    """Key and default of each option of a method."""
    for key, field in method.Options.model_fields.items():
        marks = (mark for mark in field.metadata if isinstance(mark, ByOptimizer))
        yield key, next(marks, field.default)


def models(
    pattern: Annotated[
        str | None, typer.Argument(help="Part of a name, e.g. resnet18. Default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the pretrained models by the names that `model.name` takes."""
    from revo_ray.finetune.network.backbone import list_models

    found = list_models(pattern)
    if not found:
        raise UserError(f"no model's name contains {pattern!r}; `revo-ray models` lists all")
    if as_json:
        tell(found)
        return
    for name in found:
        say(name)
    if errors.is_terminal:
        show_next(after_models(found[0]), errors)
