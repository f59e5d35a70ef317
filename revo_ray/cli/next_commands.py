"""Commands to type next, at the end of a command, with the paths that it wrote or read."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from rich.console import Console

from revo_ray.cli.console import mode, out, program, say
from revo_ray.objective import Rank, Scores
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.rundir.study_directory import Directory, open_directory
from revo_ray.storage import Storage
from revo_ray.uris import folder_name

Step = tuple[str, str]
"""Purpose of a command, and the command."""

LONGEST = 200
"""Bytes of a name that is proposed, without its ending."""
IMAGES = "IMAGES"
"""Stands for the user's own images in a command that is shown."""


def show_next(steps: Sequence[Step], console: Console = out) -> None:
    """Print commands to type next; nothing without any.

    Args:
        steps: purpose and command of each.
        console: the one of stderr, for commands whose stdout programs read.
    """
    if mode.quiet:
        return
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


def plugin_words(plugin_path: Sequence[Path] | None) -> list[str]:
    """The options that name the plugin path again."""
    return [word for folder in plugin_path or [] for word in ("--plugin-path", str(folder))]


def after_search(run: RunDirectory) -> list[Step]:
    """Steps after a search that has a best model."""
    folder = shown_path(run.uri)
    return [
        ("figures and errors", shown_command("report", folder)),
        _predict(folder),
        _export(run.uri),
    ]


def after_watch(uri: str, *, resumable: bool) -> list[Step]:
    """Steps after a search or a study that was watched until it ended."""
    report = "figures and errors", shown_command("report", shown_path(uri))
    if not resumable:
        return [report]
    folder = open_directory(uri)
    alone = isinstance(folder, RunDirectory)
    settings = folder.config().config if isinstance(folder, RunDirectory) else folder.config()
    file = shown_path(folder.storage.child(folder.CONFIG).uri)
    words = ["search" if alone else "study", file, "--resume"]
    above = folder.storage.parent
    if above is not None and Storage(settings.storage).uri != above.uri:  # it was relative or moved
        words += ["--set", f"storage={shown_path(above.uri)}"]
    if (name := folder_name(folder.uri)) != settings.name:  # it was renamed
        words += ["--set", f"name={name}"]
    return [("go on", shown_command(*words)), report]


def after_models(name: str) -> list[Step]:
    """Steps after a list of models, of which this is one; show them on the console of stderr."""
    return [("search with one", shown_command("search", "--set", f"model.name={name}"))]


def after_methods() -> list[Step]:
    """Steps after a list of methods; show them on the console of stderr."""
    return [
        ("search with one", shown_command("search", "--set", "method.name=random")),
        ("compare all", shown_command("study", "preset:quick")),
    ]


def after_report(directory: Directory, page: str) -> list[Step]:
    """Steps after a report whose page has this path or URI."""
    steps = [] if "://" in page else [("look at it", _open(page))]
    alone = isinstance(directory, RunDirectory)
    runs = [directory] if isinstance(directory, RunDirectory) else directory.runs().values()
    run = min((run for run in runs if run.best.exists), key=_rank, default=None)
    if run is None:
        return steps
    folder = shown_path(run.uri)
    more = _train(run) if alone else ("its best search", shown_command("report", folder))
    return [*steps, more, _predict(folder), *([_export(folder)] if alone else [])]


def _rank(run: RunDirectory) -> Rank:
    """The place of a search among others by its validation score; the last without a result."""
    outcome = run.outcome()
    scores = None if outcome is None else outcome.validation_scores
    return run.config().config.search.metric.rank(scores or Scores(), 0)


def after_inspect(config: str | None, overrides: Sequence[str] | None) -> list[Step]:
    """Steps after a look at images that a search can start with."""
    return [
        ("costs of a search", configured("search", config, overrides, "--dry-run")),
        ("search", configured("search", config, overrides)),
    ]


def after_train(folder: str) -> list[Step]:
    """Steps after a training that wrote this folder."""
    return [_predict(shown_path(folder)), _export(folder)]


def after_export(path: str, *options: str) -> list[Step]:
    """Steps after an export to this path.

    Args:
        options: those that `predict` needs for it, such as `--trust`.
    """
    return [_predict(shown_path(path), *options)]


def after_predict(model: str, images: Sequence[str], *options: str) -> list[Step]:
    """Steps after labels that went to stdout; show them on the console of stderr."""
    out = _new("labels", ".csv")
    return [("as a table", shown_command("predict", model, *images, *options, "--out", out))]


def _predict(model: str, *options: str) -> Step:
    return "label images", shown_command("predict", model, IMAGES, *options)


def _export(uri: str) -> Step:
    to = ("--to", "safetensors", "--out", _new(f"{folder_name(uri)}-exported"))
    return "for other programs", shown_command("export", shown_path(uri), *to)


def _train(run: RunDirectory) -> Step:
    to = ("--with-validation", "--out", _new(f"{folder_name(run.uri)}-trained"))
    return "train on validation too", shown_command("train", shown_path(run.uri), *to)


def _new(name: str, suffix: str = "") -> str:
    """A name in the working folder that is free: commands write no file twice."""
    name = os.fsencode(name)[:LONGEST].decode(errors="ignore")
    names = (f"{name}-{number}{suffix}" for number in count(2))
    return next(found for found in chain([name + suffix], names) if not Path(found).exists())


def _open(page: str) -> str:
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    return f"{opener} {shlex.quote(shown_path(page))}"
