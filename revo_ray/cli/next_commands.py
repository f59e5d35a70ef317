"""Commands to type next, at the end of a command, with the paths that it wrote or read."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from revo_ray.cli.console import out, program, say
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.rundir.study_directory import Directory

Step = tuple[str, str]
"""Purpose of a command, and the command."""

IMAGES = "IMAGES"
"""Stands for the user's own images in a command that is shown."""


def show_next(steps: Sequence[Step], console: Console = out) -> None:
    """Print commands to type next; nothing without any.

    Args:
        steps: purpose and command of each.
        console: the one of stderr, for commands whose stdout programs read.
    """
    width = max((len(purpose) for purpose, _ in steps), default=0)
    for number, (purpose, command) in enumerate(steps):
        say(f"{'' if number else 'next:':6}{purpose:{width}}   {command}", console)


def shown_command(*words: str) -> str:
    """A command of this program, quoted for a shell."""
    return " ".join([program("revo-ray"), *map(shlex.quote, words)])


def shown_path(uri: str) -> str:
    """A path below the working folder from there on; another path, or a URI, as it is."""
    if "://" in uri or not Path(uri).is_relative_to(Path.cwd()):
        return uri
    relative = os.path.relpath(uri)
    return uri if relative.startswith("-") else relative  # it would be read as an option


def configured(kind: str, config: str | None, overrides: Sequence[str] | None, *more: str) -> str:
    """A command that takes a configuration and overrides, such as `search`."""
    changes = [word for override in overrides or [] for word in ("--set", override)]
    return shown_command(kind, *([config] if config else []), *changes, *more)


def after_search(run: RunDirectory) -> list[Step]:
    """Steps after a search that has a best model."""
    folder = shown_path(run.uri)
    return [("figures and errors", shown_command("report", folder)), _predict(folder), _export(run)]


def after_report(directory: Directory, page: str) -> list[Step]:
    """Steps after a report whose page has this path or URI."""
    steps = [] if "://" in page else [("look at it", _open(page))]
    alone = isinstance(directory, RunDirectory)
    runs = [directory] if isinstance(directory, RunDirectory) else directory.runs().values()
    run = next((run for run in runs if run.best.exists), None)
    if run is None:
        return steps
    folder = shown_path(run.uri)
    more = _train(run) if alone else ("one of its searches", shown_command("report", folder))
    return [*steps, more, _predict(folder)]


def after_inspect(config: str | None, overrides: Sequence[str] | None) -> list[Step]:
    """Steps after a look at images that a search can start with."""
    return [
        ("costs of a search", configured("search", config, overrides, "--dry-run")),
        ("search", configured("search", config, overrides)),
    ]


def after_train(folder: str) -> list[Step]:
    """Steps after a training that wrote this folder."""
    folder = shown_path(folder)
    to = ("--to", "safetensors", "--out", f"{folder}-exported")
    return [_predict(folder), ("for other programs", shown_command("export", folder, *to))]


def after_export(path: str, *options: str) -> list[Step]:
    """Steps after an export to this path.

    Args:
        options: those that `predict` needs for it, such as `--trust`.
    """
    return [_predict(shown_path(path), *options)]


def after_predict(model: str, *options: str) -> list[Step]:
    """Steps after predictions of this model, for the console of stderr."""
    predict = shown_command("predict", shown_path(model), IMAGES, *options, "--top", "3", "--json")
    return [("three labels each, as JSON", predict)]


def _predict(model: str, *options: str) -> Step:
    return "label images", shown_command("predict", model, IMAGES, *options)


def _export(run: RunDirectory) -> Step:
    to = ("--to", "safetensors", "--out", f"{_name(run)}-exported")
    return "for other programs", shown_command("export", shown_path(run.uri), *to)


def _train(run: RunDirectory) -> Step:
    to = ("--with-validation", "--out", f"{_name(run)}-trained")
    return "train on validation too", shown_command("train", shown_path(run.uri), *to)


def _name(run: RunDirectory) -> str:
    return run.uri.partition("?")[0].rstrip("/").rpartition("/")[2]


def _open(page: str) -> str:
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    return f"{opener} {shlex.quote(shown_path(page))}"
