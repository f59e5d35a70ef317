"""The page of one search."""

from __future__ import annotations

from revo_ray.errors import UserError
from revo_ray.objective import METRICS
from revo_ray.report.figures.best_so_far import search_curve
from revo_ray.report.figures.genes import read_genes
from revo_ray.report.figures.importance import (
    LEAST_ROWS,
    importance_chart,
    measure,
    undecided_text,
)
from revo_ray.report.figures.optimism import chosen_chart
from revo_ray.report.figures.parallel import parallel_chart
from revo_ray.report.figures.plans import plan_chart
from revo_ray.report.figures.rates import rates_by_depth
from revo_ray.report.loaded_run import Run, load_run
from revo_ray.report.pages.error_sections import error_sections
from revo_ray.report.pages.page import Page, Section
from revo_ray.report.pages.result_sections import forms_section, result_section
from revo_ray.report.scores import headline_scores
from revo_ray.report.text_sections import budget_section, failures_section, repeat_section
from revo_ray.rundir import RunDirectory, StudyDirectory
from revo_ray.words import counted, number_text, times


def search_page(run: Run) -> Page:
    """Make the page: result, figures, costs, failures, and how to repeat the search."""
    config, identity = run.config, run.outcome.identity
    lead = (
        f"A search of revo-ray: {identity.method} on {identity.model}, {identity.data}, "
        f"{_training_text(run)}."
    )
    luck = chosen_chart(run)
    return Page(
        title=config.name,
        lead=lead,
        warnings=_warnings(run),
        sections=[
            result_section(run),
            Section("curve", "Best so far", charts=[search_curve(run, _random_beside(run))]),
            forms_section(run),
            *error_sections(run),
            _plan(run),
            _genes(run),
            Section("optimism", "Validation against test", _score_table(run), charts=[luck]),
            budget_section(run),
            failures_section([run]),
            repeat_section(run.outcome.directory, [run]),
        ],
    )


def _training_text(run: Run) -> str:
    """The images that the search trains on."""
    if run.config.data.train_fraction not in ("rest", "auto"):
        return f"{100 * run.outcome.identity.fraction:g} % of the images for training"
    images = run.outcome.result.splits.get("train")
    if images is None:
        return "with all images for training that are neither for validation nor for the test"
    return counted(images, "training image")


def _plan(run: Run) -> Section:
    """The best plan; one rate for all units is a sentence, and no figure."""
    best, charts = run.best, [plan_chart(run), rates_by_depth(run)]
    text = ""
    if best is not None and len(best.unit_lrs) > 1 and len(set(best.unit_lrs)) == 1:
        text = (
            f"Evaluation {best.evaluation} trains all {len(best.unit_lrs)} units at one learning "
            f"rate, {best.unit_lrs[0]:.2g}."
        )
        charts = charts[1:]
    return Section("plan", "The best plan", text, charts=charts)


def _warnings(run: Run) -> list[str]:
    outcome = run.outcome
    found = list(outcome.result.notes)
    if not outcome.done:
        seen = "have not been seen"
        if outcome.result.stopped_by is not None:
            seen = f"have been seen {times(outcome.result.test_looks)}, when it ended before"
        found.append(
            f"This search is not finished: {outcome.progress}. This page shows the evaluations so "
            f"far; the test images {seen}. Go on with --resume."
        )
    if run.best is None and run.rows:
        found.append(
            f"No evaluation succeeded, of {len(run.rows)}: there is no best model. “Failures” "
            "names the causes; if evaluations diverged, try lower rates under another name."
        )
    return found


def _genes(run: Run) -> Section:
    title = "Which genes mattered"
    genes = read_genes([run])
    if genes is None:
        beyond = len(run.rows) > len(run.swept) or not run.swept
        text = "No gene took more than one value." if beyond else "There is only the sweep so far."
        return Section("genes", title, text)
    importance = measure(genes)
    parallel = parallel_chart(genes, importance, run.units, "parallel", "Evaluations over genes")
    if importance is None:
        text = (
            f"{len(genes.ranks)} evaluations cannot tell which of {len(genes.names)} genes "
            f"mattered; that takes at least {LEAST_ROWS}."
        )
        return Section("genes", title, text, charts=[parallel])
    chart = importance_chart(importance, "importance", title)
    text = "" if importance.decided else undecided_text(importance)
    return Section("genes", title, text, charts=[chart, parallel])


def _score_table(run: Run) -> str:
    best, test = run.best, run.outcome.test
    if best is None or test is None:
        return ""
    rows = ["| | validation | test | validation − test |", "|:---|---:|---:|---:|"]
    for metric in METRICS.values():
        values = metric.value(best.scores), metric.value(test)
        if any(value is not None for value in values) or metric in headline_scores(run.objective):
            texts = " | ".join(map(number_text, values))
            rows.append(f"| {metric.title} | {texts} | {_gap(*values)} |")
    note = "The search saw validation images only, and chose the best evaluation by them."
    return "\n".join(rows) + "\n\n" + note


def _gap(validation: float | None, test: float | None) -> str:
    if validation is None or test is None:
        return "–"
    return f"{validation - test:+.4f}".replace("-", "−")


def _random_beside(run: Run) -> Run | None:
    """Random search over the same genome and images, if the search's study has one."""
    try:
        return _find_random(run)
    except (OSError, UserError):  # damage in another search must not spoil this page
        return None


def _find_random(run: Run) -> Run | None:
    parent = run.outcome.directory.storage.parent
    if parent is None or not StudyDirectory(parent).exists:
        return None
    for directory in StudyDirectory(parent).runs().values():
        if directory.exists and _draws_same_genome(directory, run):
            found = load_run(directory)
            return found if len(found.rows) > 1 else None
    return None


def _draws_same_genome(directory: RunDirectory, run: Run) -> bool:
    """Whether it is random search, with the genome, the images and the training of this search.

    Random search takes the options that shape a genome under the names of the revo methods.
    """
    config = directory.config().config
    options, own = config.method.options, run.config.method.options
    encoding = options.pop("encoding", "continuous")
    return (
        config.method.name == "random"
        and run.config.method.name == f"revo-{encoding}"
        and all(options[key] == own[key] for key in options.keys() & own.keys())
        and (config.data, config.model, config.train)
        == (run.config.data, run.config.model, run.config.train)
    )
