"""The page of a study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from revo_ray.report.figures.chart import Chart, slug, some
from revo_ray.report.figures.genes import read_genes
from revo_ray.report.figures.importance import importance_chart, measure
from revo_ray.report.figures.optimism import optimism_chart
from revo_ray.report.figures.parallel import parallel_chart
from revo_ray.report.figures.plans import plans_chart
from revo_ray.report.figures.radar import radar_chart
from revo_ray.report.figures.rates import rates_over, varies
from revo_ray.report.figures.study_curves import study_curves
from revo_ray.report.grid import Grid, to_markdown
from revo_ray.report.loaded_run import Run
from revo_ray.report.outcomes import is_revo
from revo_ray.report.pages.page import Page, Section, Tile
from revo_ray.report.statistics_text import to_text
from revo_ray.report.study_report import StudyReport
from revo_ray.report.text_sections import failures_section, folder_name, repeat_section


def study_page(report: StudyReport, runs: Sequence[Run]) -> Page:
    """Make the page: methods compared, best plans, costs, failures, and how to repeat the study."""
    statistics, outcomes = report.statistics, report.outcomes
    groups = _by(_searched(runs), lambda run: (run.outcome.identity.model, run.method))
    return Page(
        title=folder_name(report.directory),
        lead=(
            f"A study of revo-ray: {len(runs)} searches, "
            f"{len(statistics.methods) + len(statistics.waiting)} methods."
        ),
        warnings=_warnings(report, runs),
        sections=[
            Section(
                "result",
                "Result",
                _markdown([tables.scores for tables in report.tables]),
                tiles=_tiles(report, runs),
            ),
            _figures("methods", "Methods over data sets", radar_chart(outcomes)),
            _figures("curves", "Best so far", study_curves(runs)),
            Section(
                "statistics",
                "Statistics",
                below=to_text(statistics).removeprefix("# Statistics").strip(),
                charts=some(report.ranks_chart),
            ),
            _figures("plans", "Best plans", *_plan_charts(runs, groups)),
            _figures("genes", "Which genes mattered", *_gene_charts(groups)),
            Section(
                "optimism",
                "Validation against test",
                below=_markdown([tables.optimism for tables in report.tables]),
                charts=some(optimism_chart(outcomes)),
            ),
            Section(
                "budget",
                "Budget",
                _markdown([grid for tables in report.tables for grid in tables.costs]),
            ),
            failures_section(runs),
            repeat_section(report.directory, runs),
        ],
    )


def _warnings(report: StudyReport, runs: Sequence[Run]) -> list[str]:
    warnings = []
    if (done := report.statistics.finished) < len(runs):
        warnings.append(
            f"Partial: {done} of {len(runs)} searches are finished. This page will change; go on "
            "with --resume."
        )
    if failed := [run.outcome.name for run in runs if run.best is None and run.rows]:
        warnings.append(f"No evaluation succeeded in {', '.join(failed)}.")
    return warnings


def _tiles(report: StudyReport, runs: Sequence[Run]) -> list[Tile]:
    rows = sum(len(run.rows) for run in runs)
    seconds = sum(outcome.result.device_seconds for outcome in report.outcomes)
    return [
        Tile("searches", f"{report.statistics.finished} of {len(runs)}", "finished"),
        Tile("methods", str(len(report.statistics.methods)), "with a result"),
        Tile("cells", str(report.statistics.cells), "model × data set × fraction"),
        Tile("evaluations", f"{rows:,}"),
        Tile("device-hours", f"{seconds / 3600:,.2f}", "training and validation"),
    ]


def _plan_charts(runs: Sequence[Run], groups: Sequence[list[Run]]) -> list[Chart | None]:
    charts: list[Chart | None] = []
    for of_model in _by(_searched(runs), lambda run: run.outcome.identity.model):
        for group in groups:
            if group[0].outcome.identity.model == of_model[0].outcome.identity.model:
                charts += [rates_over(group, "data", 3), rates_over(group, "fraction", 4)]
        charts.append(plans_chart(of_model))
    return charts


def _gene_charts(groups: Sequence[list[Run]]) -> list[Chart | None]:
    """Charts of the searches of one method and model together: their genes are the same."""
    charts: list[Chart | None] = []
    for group in groups:
        genes = read_genes(group)
        if genes is None:
            continue
        identity = group[0].outcome.identity
        name = slug(f"{identity.method} {identity.model}")
        title = f"{identity.method}, {identity.model}"
        importance = measure(genes)
        if importance is not None:
            charts.append(importance_chart(importance, f"importance-{name}", f"Genes: {title}"))
        charts.append(
            parallel_chart(
                genes, importance, group[0].units, f"parallel-{name}", f"Evaluations: {title}"
            )
        )
    return charts


def _searched(runs: Sequence[Run]) -> list[Run]:
    """Searches whose plans differ by unit: those of revo methods, or else all of them."""
    varying = [run for run in runs if varies(run.rows)]
    return [run for run in varying if is_revo(run.method)] or varying


def _by(runs: Sequence[Run], key: Callable[[Run], Any]) -> list[list[Run]]:
    return [list(group) for _, group in groupby(sorted(runs, key=key), key=key)]


def _figures(name: str, title: str, *charts: Chart | None) -> Section:
    return Section(name, title, charts=some(*charts))


def _markdown(tables: Sequence[Grid]) -> str:
    return "\n\n".join(map(to_markdown, tables))
