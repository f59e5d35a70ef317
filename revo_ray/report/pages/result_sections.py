"""Sections of a search's page about its result: scores, and the forms that were made of it."""

from __future__ import annotations

from revo_ray.report.form_scores import (
    TITLES,
    against_plain_text,
    explained_columns,
    form_grid,
    members_text,
    shown_metrics,
    value_in,
)
from revo_ray.report.grid import table_markdown
from revo_ray.report.loaded_run import Run
from revo_ray.report.pages.page import Section, Tile
from revo_ray.report.scores import headline_scores, interval_text, score_text
from revo_ray.rundir.outcome import FormResult
from revo_ray.words import recipe_texts, times


def result_section(run: Run) -> Section:
    """The scores of the result, its images, and the plan of the best evaluation."""
    best = run.best
    if best is None:
        return Section("result", "Result", "There is none.")
    result = run.outcome.result
    made = result.forms.get(result.form)
    tiles = _tiles(run) if made is None else _tiles_of(run, made)
    units, frozen = len(best.unit_lrs), best.unit_lrs.count(0)
    recipe = ", ".join(recipe_texts(best.recipe))
    plan = (
        f"Evaluation {best.evaluation} has the best validation {run.objective.title} of "
        f"{len(run.rows)}. It trains {units - frozen} of {units} units and freezes {frozen}"
        f"{recipe and f', with {recipe}'}."
    )
    if made is not None:
        parts = filter(None, (_form_text(run, made), against_plain_text(run.outcome), plan))
        return Section("result", "Result", "\n\n".join(parts), tiles=tiles)
    tested = (
        "Its model was tested on images that the search never saw."
        if run.outcome.test
        else "Its model is tested when the search ends."
    )
    return Section("result", "Result", f"{plan} {tested}", tiles=tiles)


def forms_section(run: Run) -> Section:
    """Scores of each form; empty if none was made."""
    outcome, parts = run.outcome, []
    if outcome.result.forms:
        parts = [table_markdown(form_grid(outcome, m, "")) for m in shown_metrics(outcome)]
        parts.append(explained_columns(outcome))
    return Section("forms", "Forms of the result", "\n\n".join(parts))


def _tiles(run: Run) -> list[Tile]:
    """Scores of the best evaluation."""
    best, test, objective = run.best, run.outcome.test, run.objective
    assert best is not None
    metrics = headline_scores(objective)
    tiles = []
    for m in metrics:
        note = f"evaluation {best.evaluation}" if m == objective else ""
        tiles.append(Tile(f"validation {m.title}", score_text(m, m.value(best.scores)), note))
    if test:
        seen = f"measured {times(run.outcome.result.test_looks)}"
        tiles += [Tile(f"test {m.title}", score_text(m, m.value(test)), seen) for m in metrics]
    return tiles


def _tiles_of(run: Run, made: FormResult) -> list[Tile]:
    """Test scores of the form that is the result, with their intervals, and its images."""
    tiles = []
    for m in headline_scores(run.objective):
        found = made.intervals.get(m.name)
        note = f"95 %: {interval_text(m, found)}" if found else "no interval"
        tiles.append(Tile(f"test {m.title}", score_text(m, value_in(made.test, m)), note))
    splits = run.outcome.result.splits
    if splits:
        note = ", ".join(f"{count:,} {split}" for split, count in splits.items())
        tiles.append(Tile("images", f"{sum(splits.values()):,}", note))
    return tiles


def _form_text(run: Run, made: FormResult) -> str:
    result = run.outcome.result
    title = TITLES.get(result.form, result.form)
    several = (
        f" of {len(made.members)} models (evaluations {members_text(made.members)})"
        if len(made.members) > 1
        else f" (evaluation {members_text(made.members)})"
    )
    images = result.splits.get("test")
    on = f"{images:,} test images" if images else "test images"
    return (
        f"The result is the {title}{several}, as `search.result` says. It was tested "
        f"{times(made.looks)} on {on} that no training and no choice saw."
        + " A range below a score is its 95 % interval for so many test images."
        * bool(made.intervals)
    )
