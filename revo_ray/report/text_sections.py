"""Sections of a page that are text and tables: budget, failures, how to repeat the run."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from revo_ray.report.grid import Cell, Column, Grid, table_markdown, to_markdown
from revo_ray.report.loaded_run import Run
from revo_ray.report.pages.page import Block, Section
from revo_ray.rundir import Directory, Evaluation, RunDirectory
from revo_ray.rundir.working_time import machines, working_seconds
from revo_ray.uris import folder_name
from revo_ray.words import counted, cut, duration, without_home

CAUSE = 160
"""Most characters of a cause in a table."""


def budget_section(run: Run) -> Section:
    """Costs of one search, by status of its evaluations."""
    by_status: dict[str, list[Evaluation]] = defaultdict(list)
    for row in run.rows:
        by_status[row.status].append(row)
    names = ["evaluations", "epochs", "images", "device-seconds"]
    rows = [[Cell(s), *_costs(own)] for s, own in sorted(by_status.items())]
    rows.append([Cell("all", bold=True), *_costs(run.rows)])
    outcome = run.outcome
    budget = (
        f"{outcome.budget_evaluations:,} evaluations"
        if run.config.search.budget == "evaluations"
        else f"{outcome.budget_epochs:,} epochs ({outcome.budget_evaluations:,} whole evaluations)"
    )
    warm = ", ".join(map(code, run.config.search.warm_start))
    start = f" It began at the best rates of {warm}." if warm else ""
    exact = " The search spent exactly that." if outcome.done and outcome.spent_exactly else ""
    if outcome.result.stopped_by == "time":
        exact = f" It was stopped by search.stop_after at {outcome.progress}."
    caption = (
        f"The budget is {budget}.{exact}{start} Images counts the training images that were seen, "
        "with repeats; device-seconds cover training and validation."
    )
    columns = [Column("status", numbers=False), *map(Column, names)]
    grid = Grid("", caption, columns, rows, {len(rows) - 1})
    return Section("budget", "Budget", _table(grid) + "\n\n" + _time_text(run.rows))


def failures_section(runs: Sequence[Run]) -> Section:
    """Failed evaluations by cause."""
    found: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for run in runs:
        for row in run.rows:
            if row.status in ("error", "diverged"):
                cause = row.error or "the loss was not finite"
                found[run.outcome.name, row.status, cause].append(row.evaluation)
    rows = sum(len(run.rows) for run in runs)
    notes = _repeat_notes(runs)
    if not found:
        text = f"None of {rows:,} evaluations failed." if rows else "Nothing was evaluated yet."
        return Section("failures", "Failures", "\n\n".join([text, *notes]))
    table = []
    for (name, status, cause), which in sorted(found.items()):
        texts = [name, status, str(len(which)), _numbers(which), _key_line(cause)]
        table.append([Cell(text) for text in texts])
    names = ("search", "status", "evaluations", "which", "cause")
    columns = [Column(name, numbers=name == "evaluations") for name in names]
    if len(runs) == 1:
        columns, table = columns[1:], [row[1:] for row in table]
    caption = (
        f"{sum(map(len, found.values())):,} of {rows:,} evaluations failed. They count in the "
        "budget, and rank last in their generation."
    )
    long = {cause for _, _, cause in found if _key_line(cause) != cause}
    blocks = [Block(cause, "A cause in full") for cause in sorted(long)[:5]]
    text = "\n\n".join([_table(Grid("", caption, columns, table)), *notes])
    return Section("failures", "Failures", text, blocks=blocks)


def _repeat_notes(runs: Sequence[Run]) -> list[str]:
    """Notes on evaluations that were repeated because a worker, memory or a row was lost."""
    notes = []
    if again := sum(row.attempts - 1 for run in runs for row in run.rows):
        notes.append(
            f"{counted(again, 'trial')} more than evaluations: a worker or a machine was lost, or "
            "memory ran out, and the evaluation was repeated."
        )
    if torn := [f"{run.outcome.name}/{name}" for run in runs for name in run.torn]:
        notes.append(
            "Ledger files that were cut short, set aside and written again: "
            f"{', '.join(map(code, torn))}."
        )
    return notes


def repeat_section(directory: Directory, runs: Sequence[Run]) -> Section:
    """The command and the configuration that repeat the search or study, and its versions."""
    alone = isinstance(directory, RunDirectory)
    name = runs[0].config.name if alone else folder_name(directory.uri)
    file, kind = directory.CONFIG, "search" if alone else "study"
    text, blocks = "", []
    if directory.exists:
        command = f"revo-ray {kind} {file} --set name={shlex.quote(name + '-again')}"
        text = (
            f"Save the configuration below as {code(file)}, or take it from the run directory. "
            "Run the command in the folder that the first run was started in (relative paths "
            "start there). The same versions on the same kind of device, with the same number of "
            "threads, give the same numbers. Methods that depend on the order in which trials end, "
            "such as those that HyperOpt tunes, do so only with one worker. Of absolute paths "
            "outside the home folder only the last part stands here; the run directory has all."
        )
        blocks = [Block(command), Block(_shortened(directory.config_text().rstrip()), file)]
    return Section("repeat", "Repeat it", text, _table(_provenance(runs)), blocks=blocks)


def _shortened(text: str) -> str:
    """A configuration for others: of absolute paths only the last part."""
    return re.sub(
        r"""^(\s*(?:- )?(?:[\w.-]+: )?['"]?)/.*?([^/\n]+)$""",
        r"\1…/\2",
        without_home(text),
        flags=re.MULTILINE,
    )


def _provenance(runs: Sequence[Run]) -> Grid:
    """Versions, revision and checksums; all of them if searches differ."""
    found: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        provenance = run.outcome.recorded.provenance
        for package, version in _mapping(provenance.get("versions")).items():
            found[str(package)].add(str(version))
        found["revision of the code"].add(str(provenance.get("revision") or "not recorded"))
        for name, digest in _mapping(provenance.get("sha256")).items():
            found[f"SHA-256 of the {name}"].add(str(digest or "none"))
        for row in run.rows:
            if row.device:
                found["device"].add(row.device)
    rows = [[Cell(name), Cell(", ".join(sorted(values)))] for name, values in found.items()]
    columns = [Column("what", numbers=False), Column("value", numbers=False)]
    caption = "Versions and checksums at the time the run was started."
    return Grid("Made with", caption, columns, rows)


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _costs(rows: Sequence[Evaluation]) -> list[Cell]:
    values = (len(rows), sum(r.epochs for r in rows), sum(r.images for r in rows))
    return [Cell(f"{value:,}") for value in values] + [Cell(f"{sum(r.seconds for r in rows):,.1f}")]


def _time_text(rows: Sequence[Evaluation]) -> str:
    """The working time, by the clocks of the workers."""
    seconds = working_seconds(rows)
    if not seconds:
        return ""
    count = machines(rows)
    where = f" on {counted(count, 'machine')}" if count else ""
    return f"Working time: {duration(seconds)}{where}. Pauses between interruptions do not count."


def _table(grid: Grid) -> str:
    return to_markdown(grid) if grid.title else table_markdown(grid)


def _numbers(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return f"{shown} and {len(values) - 8} more" if len(values) > 8 else shown


def _key_line(cause: str) -> str:
    """The last line of a traceback, or the first line of another cause, cut to fit a table."""
    lines = [line.strip() for line in cause.strip().splitlines() if line.strip()] or [cause]
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return cut(line, CAUSE)


def code(text: str) -> str:
    """Text in a fixed-width font."""
    return f"`{text.replace('`', chr(39))}`"
