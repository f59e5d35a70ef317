"""Arguments and options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

Config = Annotated[str, typer.Argument(metavar="CONFIG.yaml", help="A file or preset:NAME.")]
OptionalConfig = Annotated[
    str | None,
    typer.Argument(
        metavar="[CONFIG.yaml | IMAGES]",
        help="A file or preset:NAME, or a folder, an archive or a table of images; default: the "
        "quick start.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override any key, e.g. search.evaluations=20."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Join a Ray cluster: auto or host:port. Default: the cluster of the Ray job that this "
        "runs in, else a local Ray of its own."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Check configuration, images and network, estimate the time, and start nothing.",
    ),
]
