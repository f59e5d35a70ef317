"""Prints the result of a search: its cost, its scores, its files and the next command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.table import Table as Grid

from revo_ray.cli.console import out, program, say
from revo_ray.storage import Storage
from revo_ray.words import duration, number_text

if TYPE_CHECKING:
    from revo_ray.rundir.outcome import SearchResult


def show_result(result: SearchResult, config: str | None, overrides: list[str] | None) -> None:
    """Print a result.

    Args:
        result: the result of a search.
        config, overrides: as they were given to the search; the next command repeats them.
    """
    say(
        f"{result.evaluations} evaluations ({status_counts(result)}) "
        f"in {duration(result.wall_seconds)}: {result.epochs} epochs, {result.images} images, "
        f"{duration(result.device_seconds)} of device time"
    )
    if result.best is None:
        say("best: null")
        return
    grid = Grid("", "loss", "accuracy", "AUC", box=None, pad_edge=False)
    best, test = result.best, result.test or {}
    grid.add_row(
        f"validation (evaluation {best['evaluation']})",
        *(number_text(best[key]) for key in ("val_loss", "val_accuracy", "val_auc")),
    )
    grid.add_row("test (once)", *(number_text(test.get(k)) for k in ("loss", "accuracy", "auc")))
    out.print(grid)
    _show_files(Storage(result.directory))
    _show_next(Storage(result.directory), config, overrides)


def status_counts(result: SearchResult) -> str:
    """How many evaluations ended with each status: `19 ok, 1 diverged`."""
    return ", ".join(f"{count} {status}" for status, count in result.statuses.items())


def _show_files(run: Storage) -> None:
    from revo_ray.monitor.tensorboard import PAGE

    # TensorBoard does not take pyarrow's options in a URI. It reads S3_ENDPOINT and the like.
    curves = shlex.quote(run.child("tensorboard").uri.partition("?")[0])
    say(f"model:       {run.child('best/model.safetensors').uri}")
    say(f"ledger:      {run.child('ledger.parquet').uri}")
    say(f"TensorBoard: {program('tensorboard')} --logdir {curves}")
    say(f"             then open http://localhost:6006/{PAGE}")


def _show_next(run: Storage, config: str | None, overrides: list[str] | None) -> None:
    changes = "".join(f" --set {shlex.quote(override)}" for override in overrides or [])
    source = shlex.quote(config or "preset:quickstart")
    plan = shlex.quote(run.child("best/plan.json").uri)
    say(
        "next:        train the best plan on train + validation images:\n"
        f"             {program('revo-ray')} train {source}{changes} "
        f"--plan {plan} --with-validation --out model.safetensors"
    )
