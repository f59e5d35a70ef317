"""Prints the result of a search: its cost, its scores, its files and the next command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.table import Table as Grid

from revo_ray.cli.console import out, program, say
from revo_ray.objective import METRICS, Scores
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.words import duration, number_text, times

if TYPE_CHECKING:
    from revo_ray.rundir.outcome import SearchResult


def show_result(result: SearchResult, config: str | None, overrides: list[str] | None) -> None:
    """Print a result; the next command repeats the `config` and `overrides` of the search."""
    say(
        f"{result.evaluations} evaluations ({status_counts(result)}) "
        f"in {duration(result.wall_seconds)}: {result.epochs} epochs, {result.images} images, "
        f"{duration(result.device_seconds)} of device time"
    )
    if result.stopped_by == "time":
        say("search.stop_after has passed; the same command with --resume spends the rest")
    if result.warm_start:
        say(f"warm start:  {', '.join(result.warm_start)}")
    if result.best is None:
        say("best: null")
        return
    metrics = METRICS.values()
    grid = Grid("", *(metric.title for metric in metrics), box=None, pad_edge=False)
    for split, scores in (
        (f"validation (#{result.best['evaluation']})", result.validation_scores),
        (f"test ({times(result.test_looks)})", result.test_scores),
    ):
        grid.add_row(split, *(number_text(m.value(scores or Scores())) for m in metrics))
    out.print(grid)
    run = RunDirectory(result.directory)
    _show_files(run)
    _show_next(run, config, overrides)


def status_counts(result: SearchResult) -> str:
    """Number of evaluations with each status: `19 ok, 1 diverged`."""
    return ", ".join(f"{count} {status}" for status, count in result.statuses.items())


def _show_files(run: RunDirectory) -> None:
    from revo_ray.monitor.tensorboard import PAGE

    # TensorBoard does not take pyarrow's options in a URI. It reads S3_ENDPOINT and the like.
    curves = shlex.quote(run.tensorboard.uri.partition("?")[0])
    say(f"model:       {run.best.uri}")
    say(f"ledger:      {run.table_uri}")
    say(f"TensorBoard: {program('tensorboard')} --logdir {curves}")
    say(f"             then open http://localhost:6006/{PAGE}")


def _show_next(run: RunDirectory, config: str | None, overrides: list[str] | None) -> None:
    changes = "".join(f" --set {shlex.quote(override)}" for override in overrides or [])
    source = shlex.quote(config or "preset:quickstart")
    plan = shlex.quote(run.best.plan_uri)
    say(
        "next:        train the best plan on train + validation images:\n"
        f"             {program('revo-ray')} train {source}{changes} "
        f"--plan {plan} --with-validation --out model.safetensors"
    )
