"""Prints a dry run: the searches, their images and networks, and about how long they will take."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from revo_ray.cli.console import located, mode, out, print_grid, progress, say, tell
from revo_ray.errors import UserError
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import duration


def show_dry_run(
    settings: SearchConfig,
    resume: bool,
    plugin_path: Sequence[Path] = (),
    time: timedelta | None = None,
) -> None:
    """Check a search or a study, and print what it will take.

    Raises:
        UserError: the configuration, the data, the model or the run directory is wrong, or the
            storage is unreachable.
    """
    from revo_ray.data.shared_files import tables_folder
    from revo_ray.run import dry_run

    with located(settings):
        try:
            found = dry_run(
                settings, resume=resume, time=time, plugin_path=plugin_path, console=progress()
            )
        except OSError as error:
            raise UserError(str(error), key="storage") from None
    if mode.json:
        tell(
            {
                "name": settings.name,
                "searches": sum(cell.searches for cell in found.cells.values()),
                "evaluations": found.evaluations,
                "epochs": found.epochs,
                "images": found.images,
                "seconds": found.promised or found.seconds / found.workers,
            }
        )
    cells = list(found.cells.values())
    head = ["images", "network", "units", "train", "validate", "test", "searches"]
    rows = []
    for cell in cells:
        numbers = (cell.units, *cell.splits, cell.searches)
        network = cell.model.rpartition("/")[2]  # short, for narrow terminals
        rows.append([f"{cell.images} {cell.fraction}", network, *(f"{n:,}" for n in numbers)])
    print_grid([head, *rows], out)
    searches = sum(cell.searches for cell in cells)
    say(
        f"{settings.name}: {searches:,} search{'es' * (searches > 1)}, {found.evaluations:,} "
        f"evaluations, {found.epochs:,} epochs, {found.images:,} images to train on"
    )
    for winners in sorted(found.warm_starts):
        say(f"warm start from {winners}")
    for model, (seconds, images) in found.steps.items() if found.promised is None else ():
        say(f"a step of {model} on {images} images takes {1000 * seconds:,.0f} ms")
    for line in found.gpu_memory.values():
        say(line)
    if found.promised is None:
        say(
            f"about {duration(found.seconds / found.workers)} on this machine, {found.workers} at "
            "a time, if every unit trains"
        )
    folder = tables_folder(settings.storage)
    say(f"nothing was started, and nothing written but image tables in {folder}")
