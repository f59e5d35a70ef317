"""The tables of a study: test scores like the paper's, what they cost, validation minus test."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from revo_ray.report.layout import MISSING, Cell, Column, Grid
from revo_ray.report.outcomes import METRICS, Metric, SearchOutcome, methods_of

Outcomes = Sequence[SearchOutcome]


def make_tables(outcomes: Outcomes) -> list[Grid]:
    """For each model: test scores, what they cost (by data set), and validation minus test."""
    tables: list[Grid] = []
    for model in sorted({outcome.identity.model for outcome in outcomes}):
        mine = [outcome for outcome in outcomes if outcome.identity.model == model]
        tables.append(score_table(mine, f"{model}: test scores"))
        tables += [
            cost_table(here, f"{model}, {data}: what a search cost")
            for data, here in _by(mine, lambda outcome: outcome.identity.data)
        ]
        tables.append(optimism_table(mine, f"{model}: validation minus test"))
    return tables


def score_table(outcomes: Outcomes, title: str) -> Grid:
    """Rows fraction × method, columns data set × AUC and accuracy (Tables 1 and 2 of the paper).

    In percent: mean ± sample standard deviation over the seeds. The best mean of a column in each
    fraction is bold, among the cells with as many seeds as the fullest one.
    """
    sources = sorted({outcome.identity.data for outcome in outcomes})
    columns = [Column("fraction"), Column("method", numbers=False)]
    columns += [Column(metric.name, group=data) for data in sources for metric in METRICS]
    usual = max((len(_values(cell, m)) for cell in _cells(outcomes) for m in METRICS), default=0)
    methods = methods_of(outcomes)
    rows: list[list[Cell]] = []
    rules: set[int] = set()
    for fraction, here in _by(outcomes, lambda outcome: outcome.identity.fraction):
        rules.add(len(rows))
        places = [{m: _pick(here, data=data, method=m) for m in methods} for data in sources]
        winners = [_best(place, metric) for place in places for metric in METRICS]
        for number, method in enumerate(methods):
            row = [Cell(f"{fraction:g}" if number == 0 else ""), Cell(method)]
            cells = ((place[method], metric) for place in places for metric in METRICS)
            for (cell, metric), best in zip(cells, winners, strict=True):
                row.append(Cell(_score_text(cell, metric, usual), bold=method in best))
            rows.append(row)
    return Grid(title, _score_caption(outcomes, usual), columns, rows, rules - {0})


def cost_table(outcomes: Outcomes, title: str) -> Grid:
    """Rows fraction × method: evaluations, epochs, images and device-seconds of a search."""
    columns = [Column("fraction"), Column("method", numbers=False), Column("searches")]
    columns += [Column(name) for name in ("evaluations", "epochs", "images", "device-seconds")]
    rows: list[list[Cell]] = []
    rules: set[int] = set()
    for fraction, here in _by(outcomes, lambda outcome: outcome.identity.fraction):
        rules.add(len(rows))
        for number, method in enumerate(methods_of(here)):
            start = f"{fraction:g}" if number == 0 else ""
            cells = (start, method, *_cost_texts(_pick(here, method=method)))
            rows.append([Cell(text) for text in cells])
    caption = (
        "Mean over the finished searches, with the least and the most where they differ; "
        f"device-seconds are of training and validation. {_budget_text(outcomes)}"
    )
    return Grid(title, caption, columns, rows, rules - {0})


def optimism_table(outcomes: Outcomes, title: str) -> Grid:
    """How much better the search's own score of its best model is than the test's, by method."""
    columns = [Column("method", numbers=False), Column("searches")]
    for group in ("loss", "accuracy"):
        columns += [Column(name, group) for name in ("validation", "test", "validation − test")]
    rows = []
    for method in methods_of(outcomes):
        ended = [o for o in _pick(outcomes, method=method) if o.done and o.validation and o.test]
        row = [method, str(len(ended))]
        for key, scale, digits in (("loss", 1, 3), ("accuracy", 100, 1)):
            pairs = [(getattr(o.validation, key), getattr(o.test, key)) for o in ended]
            pairs = [(v * scale, t * scale) for v, t in pairs if v is not None and t is not None]
            gaps = [validation - test for validation, test in pairs]
            row += [
                _mean(values, digits) for values in ([v for v, _ in pairs], [t for _, t in pairs])
            ]
            row.append(_mean_std(gaps, digits, signed=True))
        rows.append([Cell(text) for text in row])
    caption = (
        "Of the best model of each finished search, over data sets, fractions and seeds; accuracy "
        "in percent. The search picked that model by its validation loss, so validation flatters "
        "it: a loss below the test's, or an accuracy above it, is optimism."
    )
    return Grid(title, caption, columns, rows)


def searches_csv(outcomes: Outcomes) -> str:
    """One row a search, every number as it was measured; scores from 0 to 1."""
    rows = []
    for o in outcomes:
        row: dict[str, Any] = {"search": o.name, **o.identity._asdict(), "done": int(o.done)}
        row |= {key: getattr(o, key) for key in _COSTS}
        row |= {"budget": o.budget, "budget_evaluations": o.budget_evaluations}
        row |= {"budget_epochs": o.budget_epochs}
        for part in ("validation", "test"):
            for key in ("loss", "accuracy", "auc"):
                row[f"{part}_{key}"] = getattr(getattr(o, part), key, None)
        row |= {s: o.statuses.get(s, 0) for s in ("ok", "cached", "stopped", "diverged", "error")}
        rows.append(row)
    return to_csv(rows)


def means_csv(outcomes: Outcomes) -> str:
    """One row for each model, data set, fraction, method and quantity; nothing is rounded."""
    rows = []
    for cell in _cells(outcomes):
        place = {key: value for key, value in cell[0].identity._asdict().items() if key != "seed"}
        ended = [outcome for outcome in cell if outcome.done]
        measured: dict[str, list[float]] = {f"test_{m.key}": _values(cell, m) for m in METRICS}
        measured |= {key: [getattr(outcome, key) for outcome in ended] for key in _COSTS}
        for quantity, values in measured.items():
            row = {"searches": len(cell), "quantity": quantity, "n": len(values)}
            row["mean"] = statistics.fmean(values) if values else None
            row["std"] = statistics.stdev(values) if len(values) > 1 else None
            row |= {"least": min(values, default=None), "most": max(values, default=None)}
            rows.append(place | row)
    return to_csv(rows)


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of equal keys as CSV; None is an empty field."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


_COSTS = ("evaluations", "epochs", "images", "device_seconds")


def _by(outcomes: Outcomes, key: Callable[[SearchOutcome], Any]) -> Iterable[tuple[Any, Outcomes]]:
    return [(value, list(group)) for value, group in groupby(sorted(outcomes, key=key), key=key)]


def _cells(outcomes: Outcomes) -> list[Outcomes]:
    """Searches that differ by nothing but their seed."""
    return [cell for _, cell in _by(outcomes, lambda o: (*o.cell, o.identity.method))]


def _pick(outcomes: Outcomes, method: str, data: str | None = None) -> Outcomes:
    return [
        outcome
        for outcome in outcomes
        if outcome.identity.method == method and data in (None, outcome.identity.data)
    ]


def _values(outcomes: Outcomes, metric: Metric) -> list[float]:
    return [value for o in outcomes if (value := o.score(metric)) is not None]


def _best(cells: dict[str, Outcomes], metric: Metric) -> set[str]:
    """The methods with the best mean; none where there is nothing to compare with."""
    scores = {method: _values(cell, metric) for method, cell in cells.items()}
    fullest = max(map(len, scores.values()))
    means = {m: statistics.fmean(v) for m, v in scores.items() if v and len(v) == fullest}
    if len(means) < 2:
        return set()
    top = max(means.values())
    return {method for method, mean in means.items() if math.isclose(mean, top, rel_tol=1e-12)}


def _score_text(cell: Outcomes, metric: Metric, usual: int) -> str:
    values = [100 * value for value in _values(cell, metric)]
    unfinished = [outcome.progress for outcome in cell if not outcome.done]
    failed = sum(outcome.done and outcome.test is None for outcome in cell)
    notes = ([f"n={len(values)}"] if values and len(values) != usual else []) + unfinished
    notes += [f"{failed} failed"] if failed else []
    if not values:
        return ", ".join(notes) or MISSING
    return _mean_std(values, 1) + (f" ({', '.join(notes)})" if notes else "")


def _score_caption(outcomes: Outcomes, usual: int) -> str:
    if usual == 0:
        return "No search is finished yet; 12/100 counts evaluations that are."
    spread = (
        f"mean ± sample standard deviation over n = {usual} seeds"
        if usual > 1
        else "n = 1 seed, so there is no standard deviation"
    )
    other = " unless n is given" if usual > 1 else ""
    caption = (
        f"In percent, of the test images: {spread}{other}. Bold: the best mean of a column in its "
        "fraction, among those with the most seeds; that it is best does not say that the "
        f"difference is more than chance. {MISSING}: no such search (yet)."
    )
    if all(outcome.done for outcome in outcomes):
        return caption
    return f"{caption} 12/100: a search that is not finished, with its evaluations so far."


def _cost_texts(cell: Outcomes) -> list[str]:
    ended = [outcome for outcome in cell if outcome.done]
    unfinished = ", ".join(outcome.progress for outcome in cell if not outcome.done)
    if not ended:
        return ["0", unfinished, *[MISSING] * 3]
    texts = [_mean_range([getattr(outcome, key) for outcome in ended]) for key in _COSTS]
    return [str(len(ended)), texts[0] + (f" ({unfinished})" if unfinished else ""), *texts[1:]]


def _budget_text(outcomes: Outcomes) -> str:
    ended = [outcome for outcome in outcomes if outcome.done]
    off = [f"{o.name} ({o.progress})" for o in ended if not o.spent_exactly]
    if off:
        return f"Searches that did not spend exactly their budget: {', '.join(off)}."
    return "Every finished search spent exactly its budget." if ended else ""


def _mean(values: Sequence[float], digits: int) -> str:
    return f"{statistics.fmean(values):.{digits}f}" if values else MISSING


def _mean_std(values: Sequence[float], digits: int, signed: bool = False) -> str:
    """`86.1 ± 1.5`; one value has no standard deviation."""
    if not values:
        return MISSING
    mean = f"{statistics.fmean(values):{'+' if signed else ''}.{digits}f}".replace("-", "−")
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def _mean_range(values: Sequence[float]) -> str:
    least, most = min(values), max(values)
    if least == most:
        return _amount(least)
    return f"{_amount(statistics.fmean(values))} ({_amount(least)}–{_amount(most)})"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"
