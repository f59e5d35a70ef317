"""`data inspect`: looks at a data set before a search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from revo_ray.cli.console import located, out, tell
from revo_ray.cli.console import progress as progress_console
from revo_ray.cli.next_commands import after_inspect, show_next
from revo_ray.cli.parameters import AsJson, OptionalConfig, Overrides
from revo_ray.errors import UserError
from revo_ray.search.core.refused import leaving_nothing
from revo_ray.settings.schema import SearchConfig


def inspect(
    config: OptionalConfig = None,
    overrides: Overrides = None,
    duplicates: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="List all pairs of twins in this csv file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the flaws of the images, then classes, splits, sizes; exit 2 if no search can start."""
    settings = SearchConfig.load(config, overrides or [])

    from revo_ray.cli.inspection_text import looking, show_inspection
    from revo_ray.data.inspect import inspect as inspect_images
    from revo_ray.data.shared_files import tables_folder

    with located(settings), leaving_nothing(settings.storage):
        folder = tables_folder(settings.storage)
        with looking(progress_console()) as (progress, seeking):
            try:
                found = inspect_images(
                    settings.data, folder, progress, seeking=seeking, list_pairs=duplicates
                )
            except OSError as error:
                if duplicates is not None and error.filename is not None:
                    raise UserError(f"cannot write {str(duplicates)!r}: {error.strerror}") from None
                raise UserError(f"cannot read {str(folder)!r}: {error}", key="storage") from None
        if as_json:
            tell(found.as_json())
        else:
            show_inspection(found, settings.data, folder, out)
        found.check()
    if not as_json:
        show_next(after_inspect(config, overrides))
