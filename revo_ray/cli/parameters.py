"""Arguments and options that several commands take."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from revo_ray.cli.completion import complete_config, complete_override, complete_study
from revo_ray.cli.console import for_programs
from revo_ray.settings.duration import read_time


def _keep_stdout(value: bool) -> bool:
    if value:
        for_programs()
    return value


def _read_time(text: str) -> timedelta:
    try:
        return read_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Config = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG.yaml", help="A file or preset:NAME.", autocompletion=complete_study
    ),
]
Images = Annotated[
    str | None,
    typer.Argument(
        metavar="[IMAGES]",
        help="A folder, an archive or a table of images, in place of those of the configuration.",
    ),
]
OptionalConfig = Annotated[
    str | None,
    typer.Argument(
        metavar="[CONFIG.yaml | IMAGES]",
        help="A file or preset:NAME, or a folder, an archive or a table of images; default: the "
        "quick start.",
        autocompletion=complete_config,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override any key, e.g. search.evaluations=20.",
        autocompletion=complete_override,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Join a Ray cluster: auto or host:port. Default: the cluster of the Ray job that this "
        "runs in, else a local Ray of its own."
    ),
]
PluginPath = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin-path",
        metavar="DIR",
        help="A folder with plugins that the configuration may name. They are code that runs with "
        "your rights.",
    ),
]
Time = Annotated[
    timedelta | None,
    typer.Option(
        "--time",
        metavar="TIME",
        parser=_read_time,
        help="For IMAGES: fit image size, epochs and evaluations to this time, such as 5m or 2h. "
        "Default: 5m.",
    ),
]
Evaluations = Annotated[
    int | None,
    typer.Option("--evaluations", metavar="N", help="Short for --set search.evaluations=N."),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the result as JSON on stdout, for programs; all else goes to stderr.",
        callback=_keep_stdout,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Check configuration, images and network, estimate the time, and start nothing.",
    ),
]
