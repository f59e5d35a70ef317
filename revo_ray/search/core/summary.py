"""The summary of a search that ended, from its ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from revo_ray.combine.explanation import explain, score_intervals
from revo_ray.errors import UserError
from revo_ray.objective import LOSS, Metric, Scores
from revo_ray.rundir.evaluation import Evaluation
from revo_ray.rundir.forms import FORMS, Form
from revo_ray.rundir.outcome import FormResult, SearchResult
from revo_ray.rundir.predictions import ScoredImages
from revo_ray.search.core.state import SearchState


def finished_result(state: SearchState) -> SearchResult | None:
    """The stored result of a search in which nothing is left to do; None for any other."""
    if not state.spent:
        return None
    try:
        result = state.run.outcome()
        return result if result is not None and state.run.holds(result) else None
    except UserError:  # it is written again
        return None


def write_result(state: SearchState) -> SearchResult:
    """Write the result of a search that is done, and its ledger as one table.

    Raises:
        UserError: predictions are damaged.
        OSError: the storage is full or unreachable.
    """
    rows = list(state.ledger)
    images = state.run.predictions.images("test")
    forms = {} if images is None else dict(_form_results(state, images))
    wanted = state.config.search.result
    form: Form = wanted if wanted in forms else "best"
    result = replace(
        SearchResult.of_rows(state.config.name, state.run.uri, rows, state.objective),
        test=forms["best"].test if forms else None,
        wall_seconds=round(time.monotonic() - state.began, 3),
        cold_starts=state.cold_starts,
        stopped_by="budget" if state.spent else "time",
        test_looks=state.run.earlier_looks + sum(found.looks for found in forms.values()),
        warm_start=tuple(state.config.search.warm_start),
        form=form,
        forms=forms,
        notes=(*state.forms.notes, *tie_notes(rows, state.objective)),
        splits=state.splits,
        explained=_explained(state, form, images) if forms and images is not None else None,
    )
    state.delete_unrecorded()  # late files, of the workers of a killed driver
    state.ledger.write_parquet()
    state.run.write_outcome(result)
    return result


def tie_notes(rows: Sequence[Evaluation], objective: Metric) -> Iterator[str]:
    """Say so if the validation images do not tell the best evaluations apart."""
    ranks = [objective.rank_of(row)[:2] for row in rows if objective.has_weights(row)]
    tied = ranks.count(min(ranks)) if ranks else 0
    metric = "loss" if objective is LOSS else f"{objective.title} and loss"
    if tied > 1:
        yield (
            f"{tied} evaluations share the best validation {metric}; the earliest was taken. More "
            "validation images would tell them apart."
        )
    elif ranks and min(ranks)[1] == 0:
        yield "The best validation loss is 0. More validation images would tell evaluations apart."


def _form_results(state: SearchState, images: ScoredImages) -> Iterator[tuple[str, FormResult]]:
    from revo_ray.finetune.training.metrics import classification_scores  # imports torch

    for form in FORMS:
        found = state.run.predictions.test(form) if form in state.forms.members else None
        if found is None:
            continue
        test = classification_scores(found.logits, images.labels)
        validation, cross_fitted = _validation_scores(state, form)
        yield (
            form,
            FormResult(
                members=state.forms.members[form],
                validation=asdict(validation.finite),
                cross_fitted=None if cross_fitted is None else asdict(cross_fitted.finite),
                test=asdict(test.finite),
                intervals=score_intervals(found.logits, images.labels, test, images.groups),
                looks=found.looks,
            ),
        )


def _validation_scores(state: SearchState, form: Form) -> tuple[Scores, Scores | None]:
    """Scores on the validation images, and the cross-fitted ones."""
    stored, seed = state.forms.validation, state.config.data.seed
    members = state.forms.members[form]
    if form == "soup":
        card = state.run.soup.card()
        cross_fitted = card["cross_fitted"]
        return Scores.of_names(card["validation"]), cross_fitted and Scores.of_names(cross_fitted)
    if form == "ensemble":
        return stored.scores(members), stored.cross_fitted_ensemble(seed)
    rows = [row for row in state.ledger if state.objective.has_weights(row)]
    among = [r.evaluation for r in rows if form == "best" or state.is_swept(r.generation)]
    (number,) = members
    scores = state.ledger[number].scores
    return scores, stored.cross_fitted_best(among, state.objective, seed)


def _explained(state: SearchState, form: Form, images: ScoredImages) -> dict[str, Any]:
    found = state.run.predictions.test(form)
    assert found is not None
    return explain(found.logits, images.labels, images.classes)
