"""Facts about a form of a search's result, from its run directory."""

from __future__ import annotations

from revo_ray.finetune.plan import Plan
from revo_ray.model.export.facts import (
    Facts,
    Row,
    bf16_note,
    bullets,
    code,
    data_entries,
    data_name,
    heading,
    licence_text,
    plain,
    plan_section,
    score_table,
    training_text,
    version_entries,
)
from revo_ray.model.loaded_model import find_form
from revo_ray.objective import LOSS, Metric, Scores
from revo_ray.rundir.forms import Form, StoredForm
from revo_ray.rundir.outcome import FormResult, SearchResult
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import counted, plan_text, times


def facts_of_run(run: RunDirectory, form: Form | None) -> Facts:
    """Facts about a form of a search's result; `load_form` has the arguments.

    Raises:
        UserError: a file of the search is damaged.
        OSError: the storage is unreachable.
    """
    recorded = run.config()
    config = recorded.config
    stored = find_form(run, config, form)
    result = run.outcome() or run.outcome_so_far(config)
    unfinished = None if result.spends(config.search.evaluations) else _progress(config, result)
    subject = _subject(stored)
    units = len(stored.card["units"])
    classes = len(stored.card["classes"])
    about = (
        f"{code(config.model.name)}, fine-tuned on {data_name(config)} to classify images into "
        f"{classes} classes. revo-ray compared {counted(result.evaluations, 'fine-tuning')} with "
        f"different learning rates for its {counted(units, 'unit')}. "
        + _chosen(stored, config.search.metric)
        + (f" **The search is not finished** ({unfinished})." if unfinished else "")
        + bf16_note(config)
    )
    return Facts(
        title=heading(config.name),
        subject=subject,
        about=about,
        sections={
            "Scores": _scores_of(stored, result, config.search.metric),
            "Data": bullets(data_entries(recorded, result.splits)),
            "Budget": bullets(_budget_entries(config, result)),
            "Plan": _plans(run, stored),
            "Versions": bullets(version_entries(recorded)),
            "Licence": licence_text(config),
        },
        unfinished=unfinished,
    )


def _subject(stored: StoredForm) -> str:
    if stored.name in ("best", "plain"):
        return f"evaluation {next(iter(stored.members))}"
    return f"{stored.name} of {counted(len(stored.members), 'evaluation')}"


def _chosen(stored: StoredForm, objective: Metric) -> str:
    """A sentence that says how a form was chosen."""
    subject, by = _subject(stored), f"validation {objective.title}"
    if stored.name in ("ensemble", "soup") and len(stored.members) == 1:
        return (
            f"The weights are those of evaluation {next(iter(stored.members))}: no other one made "
            f"the {stored.name} better on the validation images."
        )
    return {
        "best": f"The weights are those of {subject}, which had the best {by}.",
        "plain": f"The weights are those of {subject}, which had the best {by} of all that had one "
        "learning rate for all units.",
        "ensemble": f"The model is an {subject}: the weighted mean of their probabilities, chosen "
        "by validation loss.",
        "soup": f"The model is a {subject}: the mean of their weights, chosen by validation loss "
        f"among those with the best {by}.",
    }[stored.name]


def _progress(config: SearchConfig, result: SearchResult) -> str:
    """The spent part of the budget: `12/100`, or `120/1000 epochs`."""
    if config.search.budget == "epochs":
        return f"{result.epochs}/{config.search.evaluations * config.train.epochs} epochs"
    return f"{result.evaluations}/{config.search.evaluations}"


def _scores_of(stored: StoredForm, result: SearchResult, objective: Metric) -> str:
    """The scores of a form, and a sentence on the test images."""
    form = result.forms.get(stored.name)
    if form is not None and form.members != stored.members:  # of before the search grew
        form = None
    if form is not None:
        rows = _rows(form)
    else:
        is_best = stored.name == "best"
        validation, test = (
            (result.validation_scores, result.test_scores) if is_best else (None, None)
        )
        rows = [("validation", validation or Scores(), {}), ("test", test or Scores(), {})]
    combined = stored.name in ("ensemble", "soup")
    chosen = f"The search chose by validation {LOSS.title if combined else objective.title}"
    tested = form is not None or (stored.name == "best" and result.test is not None)
    if not tested:
        note = "The test images have not been seen yet. At its end the search tests its models."
    else:
        looks = form.looks if form is not None and result.forms else result.test_looks
        note = (
            f"{chosen}; the test images were seen "
            f"{times(result.test_looks)}, the last time by this model."
            if len(result.forms) <= 1
            else f"{chosen}. This model was tested {times(looks)}; with the other forms of the "
            f"search, the test images were seen {times(result.test_looks)}. Numbers in parentheses "
            "are 95 % intervals for so many test images."
        )
    return score_table(rows) + "\n\n" + note


def _rows(form: FormResult) -> list[Row]:
    rows: list[Row] = [("validation", Scores.of_names(form.validation), {})]
    if form.cross_fitted is not None:
        rows.append(("validation, cross-fitted", Scores.of_names(form.cross_fitted), {}))
    return [*rows, ("test", Scores.of_names(form.test), form.intervals)]


def _budget_entries(config: SearchConfig, result: SearchResult) -> list[tuple[str, object]]:
    statuses = ", ".join(f"{count} {heading(status)}" for status, count in result.statuses.items())
    chosen = {k: v for k, v in config.method.options.items() if v is not None}
    options = ", ".join(f"{heading(k)} {plain(v)}" for k, v in chosen.items())
    train = config.train
    return [
        ("method", code(config.method.name) + (f" ({options})" if options else "")),
        ("evaluations", f"{result.evaluations} of {config.search.evaluations} ({statuses})"),
        ("epochs", f"{result.epochs}; an evaluation that is not stopped early has {train.epochs}"),
        ("training images seen", f"{result.images:,}"),
        ("device-seconds", f"{result.device_seconds:,.1f}"),
        ("training", training_text(config)),
        ("seeds", f"data {config.data.seed}, training {train.seed}, search {config.search.seed}"),
    ]


def _plans(run: RunDirectory, stored: StoredForm) -> str:
    """The plan of a model, or a line for each member's."""
    units = stored.card["units"]
    if stored.name in ("best", "plain"):
        folder = run.best if stored.name == "best" else run.plain
        try:
            plan = Plan.from_json(folder.plan())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise folder.damaged() from None
        if len(plan.unit_lrs) != len(units):
            raise folder.damaged()
        return plan_section(plan, units)
    rows = {row.evaluation: row for row in run.rows(table_first=True)}
    lines = ["| evaluation | share | plan |", "|---|---|---|"]
    for evaluation, share in stored.members.items():
        row = rows.get(evaluation)
        text = "–" if row is None else plan_text(row.unit_lrs)
        lines.append(f"| {evaluation} | {share:.3g} | {text} |")
    return "\n".join(lines)
