"""Scores of the forms of a search's result: best, ensemble, soup, plain; as tables and as CSV."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from revo_ray.objective import LOSS, Metric, Scores
from revo_ray.report.grid import MISSING, Cell, Column, Grid
from revo_ray.report.outcomes import Outcomes, SearchOutcome, methods_of, objectives_of
from revo_ray.report.scores import ACCURACY, drawn_score, interval_text, score_text
from revo_ray.rundir.forms import FORMS, Members
from revo_ray.rundir.outcome import FormResult, SearchResult
from revo_ray.words import counted

TITLES = {
    "best": "best model",
    "ensemble": "ensemble",
    "soup": "soup",
    "plain": "plain fine-tuning",
}
NAMED_MEMBERS = 5
"""Most members that a table names."""


def forms_of(result: SearchResult) -> dict[str, FormResult]:
    """The forms that were tested, in the usual order."""
    return {form: result.forms[form] for form in FORMS if form in result.forms}


def form_grids(outcomes: Outcomes, title: str) -> list[Grid]:
    """The forms of one search, or of several by method; empty if there are none."""
    if len(outcomes) > 1:
        grid = study_form_grid(outcomes, title)
        return [] if grid is None else [grid]
    (outcome,) = outcomes
    if not outcome.result.forms:
        return []
    metrics = shown_metrics(outcome)
    grids = [form_grid(outcome, metric, f"{title}, {metric.title}") for metric in metrics]
    return [*grids[:-1], replace(grids[-1], caption=explained_columns(outcome))]


def form_grid(outcome: SearchOutcome, metric: Metric, title: str) -> Grid:
    """One metric of each form of a search: test, cross-fitted and validation."""
    chosen = outcome.result.form
    columns = [Column("form", numbers=False), Column(f"test {metric.title}")]
    columns += [Column("95 % interval"), Column("cross-fitted"), Column("validation")]
    columns += [Column("looks"), Column("evaluations", numbers=False)]
    rows = []
    for form, made in forms_of(outcome.result).items():
        test, cross_fitted, validation = (
            score_text(metric, value_in(scores, metric))
            for scores in (made.test, made.cross_fitted, made.validation)
        )
        texts = [
            TITLES[form] + (" (the result)" if form == chosen else ""),
            *(test, interval_text(metric, made.intervals.get(metric.name))),
            *(cross_fitted, validation, f"{made.looks}", members_text(made.members)),
        ]
        rows.append([Cell(text, bold=form == chosen) for text in texts])
    return Grid(title, "", columns, rows)


def explained_columns(outcome: SearchOutcome) -> str:
    """Sentences that say how each column came about, and how plain fine-tuning was chosen."""
    images = outcome.result.splits.get("test")
    many = f" for {counted(images, 'test image')}" if images else ""
    parts = [
        f"Test: unseen images; looks count the tests; the interval is{many}. Validation: the "
        "images that chose the members, so their score flatters. Cross-fitted: the choice is made "
        "on four fifths of the validation images and scored on the other fifth; a soup has that "
        "score only as the result.",
    ]
    if "plain" in outcome.result.forms:
        parts.append(plain_text(outcome))
    return " ".join(parts)


def plain_text(outcome: SearchOutcome) -> str:
    """Number of evaluations that plain fine-tuning was chosen from, beside the other forms'."""
    swept, every = outcome.sweep_size, outcome.result.evaluations
    best_of = f", the best of {counted(swept, 'evaluation')} of the sweep" if swept else ""
    return (
        f"Plain fine-tuning has one learning rate for all layers{best_of}; the other forms were "
        f"chosen from all {counted(every, 'evaluation')} of the search."
    )


def against_plain_text(outcome: SearchOutcome) -> str:
    """Compare the result with plain fine-tuning in one sentence; empty if there is no other."""
    forms, form = outcome.result.forms, outcome.result.form
    made, plain = forms.get(form), forms.get("plain")
    if made is None or plain is None or form == "plain":
        return ""
    if made.members == plain.members:
        return (
            "The result is plain fine-tuning: no plan with rates of its own for each layer was "
            "better."
        )
    metric = drawn_score(outcome.objective)
    ours, theirs = value_in(made.test, metric), value_in(plain.test, metric)
    if ours is None or theirs is None:
        return ""
    points = round(100 * (ours - theirs), 1)
    gain = f"{abs(points):.1f} points {'more' if points > 0 else 'less'}" if points else "no more"
    return (
        f"Its test {metric.title} is {score_text(metric, ours)} against "
        f"{score_text(metric, theirs)} of plain fine-tuning, {gain}"
        f"{_overlap_text(made.intervals.get(metric.name), plain.intervals.get(metric.name))}."
    )


def _overlap_text(ours: tuple[float, float] | None, theirs: tuple[float, float] | None) -> str:
    if ours is None or theirs is None:
        return ""
    if max(ours[0], theirs[0]) > min(ours[1], theirs[1]):
        return "; the 95 % intervals do not overlap"
    return "; the 95 % intervals overlap: not decided by this search"


def study_form_grid(outcomes: Outcomes, title: str) -> Grid | None:
    """Test scores of the forms by method, over the searches that have them; None without forms."""
    ended = [outcome for outcome in outcomes if outcome.done]
    found = [form for form in FORMS if any(form in outcome.result.forms for outcome in ended)]
    if not found:
        return None
    objectives = objectives_of(outcomes)
    metric = drawn_score(objectives.pop()) if len(objectives) == 1 else ACCURACY
    columns = [Column("method", numbers=False), Column("searches")]
    columns += [Column(TITLES[form]) for form in found]
    rows = []
    for method in methods_of(ended):
        mine = [o.result for o in ended if o.identity.method == method and o.result.forms]
        values = [_values(mine, form, metric) for form in found]
        texts = [method, str(len(mine)), *(_mean_std(metric, own, len(mine)) for own in values)]
        rows.append([Cell(text) for text in texts])
    caption = (
        f"Test {metric.title} of each form: mean ± sample standard deviation over the finished "
        "searches of a method, over data sets, fractions and seeds; n where only some have that "
        "form. Each form was chosen by validation images. Plain fine-tuning is the best of the "
        "sweep alone, the other forms are chosen from all evaluations of a search."
    )
    return Grid(title, caption, columns, rows)


def value_in(scores: Mapping[str, float | None] | None, metric: Metric) -> float | None:
    """A metric of scores by name; None without it."""
    return metric.value(Scores.of_names(scores or {}))


def members_text(members: Members) -> str:
    """Evaluations, with their weights if they differ: `#3 40 %, #14 60 %`."""
    shares = set(members.values())
    named = sorted(members.items(), key=lambda member: (-member[1], member[0]))[:NAMED_MEMBERS]
    texts = [f"#{e}" + (f" {100 * share:.3g} %" * (len(shares) > 1)) for e, share in named]
    more = len(members) - len(named)
    return ", ".join(texts) + (f" and {more} more" if more else "")


def shown_metrics(outcome: SearchOutcome) -> list[Metric]:
    """The metrics that a search's tables of forms show."""
    return [drawn_score(outcome.objective), LOSS]


def _values(results: Iterable[SearchResult], form: str, metric: Metric) -> list[float]:
    made = (result.forms[form] for result in results if form in result.forms)
    return [value for own in made if (value := value_in(own.test, metric)) is not None]


def _mean_std(metric: Metric, values: Sequence[float], usual: int) -> str:
    if not values:
        return MISSING
    text = score_text(metric, statistics.fmean(values))
    if len(values) > 1:
        text = text.replace(" %", f" ± {100 * statistics.stdev(values):.1f} %")
    return text if len(values) == usual else f"{text} (n={len(values)})"
