"""CSV files of the scores and costs of searches, unrounded."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from typing import Any

from revo_ray.objective import METRICS
from revo_ray.report.explained import read_explained
from revo_ray.report.form_scores import forms_of, value_in
from revo_ray.report.outcomes import COSTS, Outcomes, objectives_of
from revo_ray.report.scores import compared_scores
from revo_ray.report.tables import cells_of, scores_of
from revo_ray.words import spreadsheet_cell


def searches_csv(outcomes: Outcomes) -> str:
    """One row for each search: costs, and scores from 0 to 1."""
    rows = []
    for o in outcomes:
        row: dict[str, Any] = {"search": o.name, **o.identity._asdict(), "done": int(o.done)}
        row |= {key: getattr(o.result, key) for key in COSTS}
        row |= {"budget": o.config.search.budget, "budget_evaluations": o.budget_evaluations}
        row |= {"budget_epochs": o.budget_epochs}
        for split, scores in (("validation", o.validation), ("test", o.test)):
            for name, metric in METRICS.items():
                row[f"{split}_{name}"] = metric.value(scores) if scores else None
        statuses = ("ok", "cached", "stopped", "diverged", "error")
        row |= {status: o.result.statuses.get(status, 0) for status in statuses}
        rows.append(row)
    return to_csv(rows)


def means_csv(outcomes: Outcomes) -> str:
    """One row for each model, data set, fraction, method and quantity."""
    metrics = compared_scores(objectives_of(outcomes))
    rows = []
    for cell in cells_of(outcomes):
        place = {key: value for key, value in cell[0].identity._asdict().items() if key != "seed"}
        ended = [outcome for outcome in cell if outcome.done]
        measured: dict[str, list[float]] = {f"test_{m.name}": scores_of(cell, m) for m in metrics}
        measured |= {key: [getattr(outcome.result, key) for outcome in ended] for key in COSTS}
        for quantity, values in measured.items():
            row = place | {"searches": len(cell), "quantity": quantity, "n": len(values)}
            row["mean"] = statistics.fmean(values) if values else None
            row["std"] = statistics.stdev(values) if len(values) > 1 else None
            row |= {"least": min(values, default=None), "most": max(values, default=None)}
            rows.append(row)
    return to_csv(rows)


def forms_csv(outcomes: Outcomes) -> str | None:
    """One row for each search, form and metric, unrounded; None without forms."""
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        for form, made in forms_of(outcome.result).items():
            place = {"search": outcome.name, **outcome.identity._asdict(), "form": form}
            place |= {"result": int(form == outcome.result.form), "looks": made.looks}
            place |= {"members": " ".join(f"{e}:{share:g}" for e, share in made.members.items())}
            for metric in METRICS.values():
                low, high = made.intervals.get(metric.name, (None, None))
                rows.append(
                    place
                    | {
                        "metric": metric.name,
                        "validation": value_in(made.validation, metric),
                        "cross_fitted": value_in(made.cross_fitted, metric),
                        "test": value_in(made.test, metric),
                        "test_low": low,
                        "test_high": high,
                    }
                )
    return to_csv(rows) if rows else None


def per_class_csv(outcomes: Outcomes) -> str | None:
    """One row for each search and class, unrounded; None if no search has them."""
    rows = [
        {"search": outcome.name, "class": name} | vars(scores)
        for outcome in outcomes
        if (explained := read_explained(outcome)) is not None
        for name, scores in explained.classes.items()
    ]
    return to_csv(rows) if rows else None


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with equal keys as CSV; None and NaN are empty fields."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(spreadsheet_cell, rows[0]))
    for row in rows:
        values = (row[key] for key in rows[0])
        known = (None if value != value else value for value in values)
        writer.writerow(map(spreadsheet_cell, known))
    return stream.getvalue()
