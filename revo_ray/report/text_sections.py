"""The parts of a page that are words and tables: budget, failures, how to repeat the run."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from revo_ray.report.layout import Cell, Column, Grid, to_markdown
from revo_ray.report.loaded_run import Run
from revo_ray.report.outcomes import CONFIG
from revo_ray.report.pages.page import Block, Section
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.storage import Storage
from revo_ray.words import counted, cut, duration

CAUSE = 160
"""Characters of a cause that a table has room for."""
STUDY = "study.yaml"


def budget_section(run: Run) -> Section:
    """What one search cost, by how its evaluations ended."""
    by_status: dict[str, list[Evaluation]] = defaultdict(list)
    for row in run.rows:
        by_status[row.status].append(row)
    names = ["evaluations", "epochs", "images", "device-seconds"]
    rows = [[Cell(s), *_costs(own)] for s, own in sorted(by_status.items())]
    rows.append([Cell("all", bold=True), *_costs(run.rows)])
    search, outcome = run.config.search, run.outcome
    budget = (
        f"{outcome.budget_evaluations:,} evaluations"
        if search.budget == "evaluations"
        else f"{outcome.budget_epochs:,} epochs ({search.evaluations:,} whole evaluations)"
    )
    exact = " It spent exactly that." if outcome.done and outcome.spent_exactly else ""
    caption = (
        f"The budget is {budget}.{exact} Images are training images that were seen, repeats "
        "counted; device-seconds are of training and validation."
    )
    grid = Grid(
        "", caption, [Column("status", numbers=False), *map(Column, names)], rows, {len(rows) - 1}
    )
    return Section("budget", "Budget", _table(grid) + "\n\n" + _time_words(run.rows))


def failures_section(runs: Sequence[Run]) -> Section:
    """What failed and why; every cause once."""
    found: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for run in runs:
        for row in run.rows:
            if row.status in ("error", "diverged"):
                cause = row.error or "the loss was not finite"
                found[run.outcome.name, row.status, cause].append(row.evaluation)
    again = sum(row.attempts - 1 for run in runs for row in run.rows)
    rows = sum(len(run.rows) for run in runs)
    notes = []
    if again:
        notes.append(
            f"{counted(again, 'trial')} more than evaluations: workers or machines that were lost, "
            "whose evaluations were made again."
        )
    if torn := [f"{run.outcome.name}/{name}" for run in runs for name in run.torn]:
        notes.append(
            f"Rows that were torn, set aside and made again: {', '.join(map(_code, torn))}."
        )
    if not found:
        text = f"None of {rows:,} evaluations failed." if rows else "Nothing was evaluated yet."
        return Section("failures", "Failures", "\n\n".join([text, *notes]))
    failed = sum(map(len, found.values()))
    columns = [
        Column("status", numbers=False),
        Column("evaluations"),
        Column("which", numbers=False),
    ]
    columns.append(Column("cause", numbers=False))
    if len(runs) > 1:
        columns.insert(0, Column("search", numbers=False))
    table = []
    for (name, status, cause), which in sorted(found.items()):
        cells = [status, str(len(which)), _numbers(which), _first(cause)]
        table.append([Cell(text) for text in ([name] if len(runs) > 1 else []) + cells])
    caption = (
        f"{failed:,} of {rows:,} evaluations failed. They count in the budget, and rank last in "
        "their generation."
    )
    long = {cause for _, _, cause in found if _first(cause) != cause}
    blocks = [Block(cause, "A cause in full") for cause in sorted(long)[:5]]
    text = "\n\n".join([_table(Grid("", caption, columns, table)), *notes])
    return Section("failures", "Failures", text, blocks=blocks)


def repeat_section(storage: Storage, runs: Sequence[Run], alone: bool) -> Section:
    """How to make the same search or study again, and from what it was made."""
    name = (
        runs[0].config.name
        if alone
        else storage.uri.partition("?")[0].rstrip("/").rpartition("/")[2]
    )
    file, kind = (CONFIG, "search") if alone else (STUDY, "study")
    text, blocks = "", []
    if storage.exists(file):
        command = f"revo-ray {kind} {file} --set name={shlex.quote(name + '-again')}"
        text = (
            f"Save the configuration below as {_code(file)}, or take it from the run directory, "
            "and run this in the folder that the first run was started in (relative paths are "
            "below it). The same versions on the same kind of device, at the same thread count, "
            "give the same numbers; methods that depend on the order in which trials end, such as "
            "those that HyperOpt tunes, only with one worker."
        )
        blocks.append(Block(command))
        blocks.append(Block(_configuration(storage, file), file))
    return Section("repeat", "Repeat it", text, _table(_provenance(runs)), blocks=blocks)


def _configuration(storage: Storage, file: str) -> str:
    return storage.read(file).decode("utf-8", "replace").rstrip()


def _provenance(runs: Sequence[Run]) -> Grid:
    """Versions, revision and checksums; where searches differ, all that there are."""
    found: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        recorded = run.recorded
        for package, version in _mapping(recorded.get("versions")).items():
            found[str(package)].add(str(version))
        found["revision of the code"].add(str(recorded.get("revision") or "not recorded"))
        for what, digest in _mapping(recorded.get("sha256")).items():
            found[f"SHA-256 of the {what}"].add(str(digest or "none"))
        for row in run.rows:
            if row.device:
                found["device"].add(row.device)
    rows = [[Cell(what), Cell(", ".join(sorted(values)))] for what, values in found.items()]
    columns = [Column("what", numbers=False), Column("value", numbers=False)]
    return Grid(
        "Made with", "Versions and checksums as they were when the run was started.", columns, rows
    )


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _costs(rows: Sequence[Evaluation]) -> list[Cell]:
    values = (len(rows), sum(r.epochs for r in rows), sum(r.images for r in rows))
    seconds = sum(row.seconds for row in rows)
    return [*(Cell(f"{value:,}") for value in values), Cell(f"{seconds:,.1f}")]


def _time_words(rows: Sequence[Evaluation]) -> str:
    """How long it took, from the moments that the rows hold."""
    timed = [row for row in rows if row.finished_at > 0]
    if not timed:
        return ""
    first, last = min(r.started_at for r in timed), max(r.finished_at for r in timed)
    nodes = {row.node for row in timed if row.node}
    machines = f" on {counted(len(nodes), 'machine')}" if nodes else ""
    return (
        f"From the first start to the last end {duration(last - first)}{machines}, interruptions "
        "included."
    )


def _table(grid: Grid) -> str:
    text = to_markdown(grid)
    return text if grid.title else text.partition("\n\n")[2]


def _numbers(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return f"{shown} and {len(values) - 8} more" if len(values) > 8 else shown


def _first(cause: str) -> str:
    """The last line of a traceback, the first of other causes, cut to what a table can hold."""
    lines = [line.strip() for line in cause.strip().splitlines() if line.strip()] or [cause]
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return cut(line, CAUSE)


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`"
