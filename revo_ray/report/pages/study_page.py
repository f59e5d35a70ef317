"""The page of a study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from revo_ray.report.figures.chart import Chart, slug
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
from revo_ray.report.text_sections import failures_section, repeat_section
from revo_ray.uris import folder_name


def study_page(report: StudyReport, runs: Sequence[Run]) -> Page:
    """Make the page: methods compared, best plans, costs, failures, and how to repeat the study."""
    statistics, outcomes, tables = report.statistics, report.outcomes, report.tables
    methods = len(statistics.methods) + len(statistics.waiting)
    models = _by(_searched(runs), attrgetter("outcome.identity.model"))
    scores, costs = [t.scores for t in tables], [grid for t in tables for grid in t.costs]
    forms = [grid for t in tables for grid in t.forms]
    compared = to_text(statistics).removeprefix("# Statistics").strip()
    optimism, luck = _markdown([t.optimism for t in tables]), optimism_chart(outcomes)
    return Page(
        title=folder_name(report.directory.uri),
        lead=f"A study of revo-ray: {len(runs)} searches, {methods} methods.",
        warnings=_warnings(report, runs),
        sections=[
            Section("result", "Result", _markdown(scores), tiles=_tiles(report, runs)),
            Section("forms", "Forms of the result", _markdown(forms)),
            Section("methods", "Methods over data sets", charts=[radar_chart(outcomes)]),
            Section("curves", "Best so far", charts=[study_curves(runs)]),
            Section("statistics", "Statistics", below=compared, charts=[report.ranks_chart]),
            Section("plans", "Best plans", charts=_plan_charts(models)),
            Section("genes", "Which genes mattered", charts=_gene_charts(models)),
            Section("optimism", "Validation against test", below=optimism, charts=[luck]),
            Section("budget", "Budget", _markdown(costs)),
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


def _plan_charts(models: Sequence[list[Run]]) -> list[Chart | None]:
    charts: list[Chart | None] = []
    for of_model in models:
        for group in _by(of_model, attrgetter("method")):
            charts += [rates_over(group, "data", 3), rates_over(group, "fraction", 4)]
        charts.append(plans_chart(of_model))
    return charts


def _gene_charts(models: Sequence[list[Run]]) -> list[Chart | None]:
    """Charts of the searches of one method and model together: their genes are the same."""
    charts: list[Chart | None] = []
    for group in (group for of_model in models for group in _by(of_model, attrgetter("method"))):
        if (genes := read_genes(group)) is None:
            continue
        identity, units = group[0].outcome.identity, group[0].units
        title = f"{identity.method}, {identity.model}"
        name = slug(title)
        importance = measure(genes)
        if importance is not None:
            charts.append(importance_chart(importance, f"importance-{name}", f"Genes: {title}"))
        title = f"Evaluations: {title}"
        charts.append(parallel_chart(genes, importance, units, f"parallel-{name}", title))
    return charts


def _searched(runs: Sequence[Run]) -> list[Run]:
    """Searches whose plans differ by unit: those of revo methods, or else all of them."""
    varying = [run for run in runs if varies(run.rows)]
    return [run for run in varying if is_revo(run.method)] or varying


def _by(runs: Sequence[Run], key: Callable[[Run], Any]) -> list[list[Run]]:
    return [list(group) for _, group in groupby(sorted(runs, key=key), key=key)]


def _markdown(tables: Sequence[Grid]) -> str:
    return "\n\n".join(map(to_markdown, tables))
