"""The page of a study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from revo_ray.report.figures.chart import Chart, slug
from revo_ray.report.figures.curves import study_curves
from revo_ray.report.figures.genes import importance_chart, measure, read_genes
from revo_ray.report.figures.optimism import optimism_chart
from revo_ray.report.figures.parallel import parallel_chart
from revo_ray.report.figures.plans import plans_chart
from revo_ray.report.figures.radar import radar_chart
from revo_ray.report.figures.rates import rates_over, varies
from revo_ray.report.layout import Grid, to_markdown
from revo_ray.report.loaded_run import Run
from revo_ray.report.outcomes import is_own
from revo_ray.report.pages.page import Page, Section, Tile
from revo_ray.report.statistics_text import to_text
from revo_ray.report.study_report import StudyReport
from revo_ray.report.text_sections import failures_section, repeat_section
from revo_ray.storage import Storage


def study_page(storage: Storage, report: StudyReport, runs: Sequence[Run]) -> Page:
    """The methods of a study against each other, and what their best plans have in common."""
    name = storage.uri.partition("?")[0].rstrip("/").rpartition("/")[2]
    statistics = report.statistics
    done = sum(outcome.done for outcome in report.outcomes)
    warnings = []
    if done < len(runs):
        warnings.append(
            f"Partial: {done} of {len(runs)} searches are finished. What follows will change; "
            "go on with --resume."
        )
    nothing = [run.outcome.name for run in runs if run.best is None and run.rows]
    if nothing:
        warnings.append(f"No evaluation succeeded in {', '.join(nothing)}.")
    methods = _by(_searched(runs), lambda run: (run.outcome.identity.model, run.method))
    return Page(
        title=name,
        lead=(
            f"A study of revo-ray: {len(runs)} searches, "
            f"{len(statistics.methods) + len(statistics.waiting)} methods."
        ),
        warnings=warnings,
        sections=[
            Section("result", "Result", _scores(report), tiles=_tiles(report, runs)),
            Section(
                "methods", "Methods over data sets", charts=_some(radar_chart(report.outcomes))
            ),
            Section("curves", "Best so far", charts=_some(study_curves(runs))),
            _statistics(report),
            Section("plans", "Best plans", charts=_plan_charts(runs, methods)),
            Section("genes", "Which genes mattered", charts=_gene_charts(methods)),
            _optimism(report),
            _budget(report),
            failures_section(runs),
            repeat_section(storage, runs, alone=False),
        ],
    )


def _tiles(report: StudyReport, runs: Sequence[Run]) -> list[Tile]:
    done = sum(outcome.done for outcome in report.outcomes)
    rows = sum(len(run.rows) for run in runs)
    seconds = sum(outcome.device_seconds for outcome in report.outcomes)
    return [
        Tile("searches", f"{done} of {len(runs)}", "finished"),
        Tile("methods", str(len(report.statistics.methods)), "with a result"),
        Tile("cells", str(report.statistics.cells), "model × data set × fraction"),
        Tile("evaluations", f"{rows:,}"),
        Tile("device-hours", f"{seconds / 3600:,.2f}", "training and validation"),
    ]


def _scores(report: StudyReport) -> str:
    return _markdown([table for table in report.tables if "test scores" in table.title])


def _optimism(report: StudyReport) -> Section:
    tables = [table for table in report.tables if "validation minus test" in table.title]
    chart = optimism_chart(report.outcomes)
    return Section(
        "optimism", "Validation against test", below=_markdown(tables), charts=_some(chart)
    )


def _budget(report: StudyReport) -> Section:
    tables = [table for table in report.tables if "what a search cost" in table.title]
    return Section("budget", "Budget", _markdown(tables))


def _statistics(report: StudyReport) -> Section:
    text = to_text(report.statistics).removeprefix("# Statistics").strip()
    return Section("statistics", "Statistics", below=text, charts=_some(report.ranks_chart))


def _plan_charts(runs: Sequence[Run], methods: Sequence[list[Run]]) -> list[Chart]:
    charts = []
    for of_model in _by(_searched(runs), lambda run: run.outcome.identity.model):
        for own in methods:
            if own[0].outcome.identity.model == of_model[0].outcome.identity.model:
                charts += [rates_over(own, "data", 3), rates_over(own, "fraction", 4)]
        charts.append(plans_chart(of_model))
    return _some(*charts)


def _gene_charts(methods: Sequence[list[Run]]) -> list[Chart]:
    """Of the searches of one method and model together: their spaces are the same."""
    charts: list[Chart | None] = []
    for own in methods:
        genes = read_genes(own)
        if genes is None:
            continue
        identity = own[0].outcome.identity
        name, title = (
            slug(f"{identity.method} {identity.model}"),
            f"{identity.method}, {identity.model}",
        )
        importance = measure(genes)
        if importance is not None:
            charts.append(importance_chart(importance, f"importance-{name}", f"Genes: {title}"))
        charts.append(
            parallel_chart(
                genes, importance, own[0].units, f"parallel-{name}", f"Evaluations: {title}"
            )
        )
    return _some(*charts)


def _searched(runs: Sequence[Run]) -> list[Run]:
    """Searches whose plans differ by unit: of this package's methods, or else of any."""
    varying = [run for run in runs if varies(run.rows)]
    return [run for run in varying if is_own(run.method)] or varying


def _by(runs: Sequence[Run], key: Callable[[Run], Any]) -> list[list[Run]]:
    return [list(group) for _, group in groupby(sorted(runs, key=key), key=key)]


def _markdown(tables: Sequence[Grid]) -> str:
    return "\n\n".join(map(to_markdown, tables))


def _some(*charts: Chart | None) -> list[Chart]:
    return [chart for chart in charts if chart is not None]
