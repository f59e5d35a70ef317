"""Prints the result of a search: its cost, its scores, its files and the next commands."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.table import Table as Grid

from revo_ray.cli.console import out, print_grid, program, say
from revo_ray.cli.next_commands import after_search, configured, show_next
from revo_ray.objective import METRICS, Scores
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.images_argument import images_settings
from revo_ray.uris import divided
from revo_ray.words import duration, number_text, times

if TYPE_CHECKING:
    from revo_ray.rundir.outcome import SearchResult

EVALUATIONS = "search.evaluations"
SHOWN_COLUMNS = 5
"""Columns of the table of forms that fit a terminal."""


def show_result(
    result: SearchResult, config: str | None, overrides: list[str] | None, *more: str
) -> None:
    """Print a result.

    Args:
        result: of a search.
        config, overrides, more: the words that it was started with.
    """
    say(
        f"{result.evaluations} evaluations ({status_counts(result)}) "
        f"in {duration(result.working_seconds or result.wall_seconds)}: "
        f"{result.epochs} epochs, {result.images} images, "
        f"{duration(result.device_seconds)} of device time"
    )
    if result.warm_start:
        say(f"warm start:  {', '.join(result.warm_start)}")
    steps = []
    if result.stopped_by == "time":
        say("search.stop_after has passed; the same command with --resume spends the rest")
        steps = [("spend the rest", configured("search", config, overrides, *more, "--resume"))]
    if result.best is None:
        say("best: null")
        show_next(steps)
        return
    metrics = METRICS.values()
    looks = result.forms["best"].looks if "best" in result.forms else result.test_looks
    grid = Grid("", *(metric.title for metric in metrics), box=None, pad_edge=False)
    for split, scores in (
        (f"validation (#{result.best['evaluation']})", result.validation_scores),
        (f"test ({times(looks)})", result.test_scores),
    ):
        grid.add_row(split, *(number_text(m.value(scores or Scores())) for m in metrics))
    out.print(grid)
    run = RunDirectory(result.directory)
    if result.forms:
        show_forms(run)
    for note in result.notes:
        say(note)
    _show_files(run, result.form)
    steps += after_search(run)
    if result.stopped_by == "budget" and config is not None and images_settings(config):
        others = [each for each in overrides or [] if not each.startswith(f"{EVALUATIONS}=")]
        more = (*more, "--evaluations", str(2 * result.evaluations), "--resume")
        steps.append(("go on", configured("search", config, others, *more)))
    show_next(steps)


def status_counts(result: SearchResult) -> str:
    """Number of evaluations with each status: `19 ok, 1 diverged`."""
    return ", ".join(f"{count} {status}" for status, count in result.statuses.items())


def show_forms(run: RunDirectory) -> None:
    """Print a row for each form of the result."""
    from revo_ray.report.form_scores import form_grid, plain_text, shown_metrics
    from revo_ray.report.outcomes import load_outcomes

    (outcome,) = load_outcomes(run)
    grid = form_grid(outcome, shown_metrics(outcome)[0], "")
    names = [f"{column.group} {column.name}".strip() for column in grid.columns]
    rows = [names, *([cell.text for cell in row] for row in grid.rows)]
    out.print()
    print_grid([row[:SHOWN_COLUMNS] for row in rows], out)
    if "plain" in outcome.result.forms:
        say(plain_text(outcome))
    out.print()


def _show_files(run: RunDirectory, form: str) -> None:
    from revo_ray.monitor.tensorboard import PAGE

    # TensorBoard does not take pyarrow's options in a URI. It reads S3_ENDPOINT and the like.
    curves = shlex.quote(divided(run.tensorboard.uri)[0])
    say(f"model:       {run.best.uri if form == 'best' else run.storage.child(form).uri}")
    say(f"ledger:      {run.table_uri}")
    say(f"TensorBoard: {program('tensorboard')} --logdir {curves}")
    say(f"             then open http://localhost:6006/{PAGE}")
