"""Tables of a study: test scores as in the paper, costs, and validation minus test."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from revo_ray.objective import Metric
from revo_ray.report.form_scores import form_grids
from revo_ray.report.grid import MISSING, Cell, Column, Grid
from revo_ray.report.outcomes import COSTS, Outcomes, SearchOutcome, methods_of, objectives_of
from revo_ray.report.scores import compared_scores, is_share, objectives_text, optimism_scores


@dataclass(frozen=True)
class Tables:
    """The tables of one model.

    Attributes:
        scores: test scores.
        costs: costs of a search, one table for each data set.
        optimism: validation minus test.
        forms: scores of the forms of the result; empty if no search has them.
    """

    scores: Grid
    costs: list[Grid]
    optimism: Grid
    forms: list[Grid]

    @property
    def all(self) -> list[Grid]:
        """All tables, in the order of reading."""
        return [self.scores, *self.forms, *self.costs, self.optimism]


def make_tables(outcomes: Outcomes) -> list[Tables]:
    """Make the tables of each model."""
    tables = []
    for model, mine in _by(outcomes, lambda outcome: outcome.identity.model):
        by_data = _by(mine, lambda outcome: outcome.identity.data)
        costs = [cost_table(o, f"{model}, {data}: what a search cost") for data, o in by_data]
        scores = score_table(mine, f"{model}: test scores")
        optimism = optimism_table(mine, f"{model}: validation minus test")
        forms = form_grids(mine, f"{model}: forms of the result")
        tables.append(Tables(scores, costs, optimism, forms))
    return tables


def score_table(outcomes: Outcomes, title: str) -> Grid:
    """Test scores in percent, fraction × method by data set (Tables 1 and 2 of the paper).

    Cells hold mean ± sample standard deviation over the seeds. In each fraction the best mean of
    a column is bold; cells with fewer seeds than the fullest one do not compete.
    """
    sources = sorted({outcome.identity.data for outcome in outcomes})
    metrics = compared_scores(objectives_of(outcomes))
    columns = [Column("fraction"), Column("method", numbers=False)]
    columns += [Column(metric.title, group=data) for data in sources for metric in metrics]
    counts = (len(scores_of(cell, m)) for cell in cells_of(outcomes) for m in metrics)
    usual = max(counts, default=0)
    methods = methods_of(outcomes)
    rows: list[list[Cell]] = []
    rules: set[int] = set()
    for fraction, here in _by(outcomes, lambda outcome: outcome.identity.fraction):
        rules.add(len(rows))
        places = [{m: _pick(here, data=data, method=m) for m in methods} for data in sources]
        winners = [_best(place, metric) for place in places for metric in metrics]
        for number, method in enumerate(methods):
            row = [Cell(f"{fraction:g}" if number == 0 else ""), Cell(method)]
            cells = ((place[method], metric) for place in places for metric in metrics)
            for (cell, metric), best in zip(cells, winners, strict=True):
                row.append(Cell(_score_text(cell, metric, usual), bold=method in best))
            rows.append(row)
    return Grid(title, _score_caption(outcomes, usual), columns, rows, rules - {0})


def cost_table(outcomes: Outcomes, title: str) -> Grid:
    """Evaluations, epochs, images and device-seconds of a search, fraction × method."""
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
        "Mean over the finished searches, with minimum and maximum if they differ; device-seconds "
        f"cover training and validation. {_budget_text(outcomes)}"
    )
    return Grid(title, caption, columns, rows, rules - {0})


def optimism_table(outcomes: Outcomes, title: str) -> Grid:
    """Validation and test scores of the best models, and their difference, by method."""
    objectives = objectives_of(outcomes)
    metrics = optimism_scores(objectives)
    columns = [Column("method", numbers=False), Column("searches")]
    for metric in metrics:
        names = ("validation", "test", "validation − test")
        columns += [Column(name, metric.title) for name in names]
    rows = []
    for method in methods_of(outcomes):
        ended = [o for o in _pick(outcomes, method=method) if o.done and o.validation and o.test]
        texts = [text for metric in metrics for text in _optimism_texts(ended, metric)]
        rows.append([Cell(text) for text in (method, str(len(ended)), *texts)])
    shares = ", ".join(metric.title for metric in metrics if is_share(metric))
    caption = (
        "Best model of each finished search, over data sets, fractions and seeds; "
        f"{shares} in percent. The search chose that model by its validation "
        f"{objectives_text(objectives)}, so validation is optimistic: its loss tends to be below "
        "the test's, its other scores above."
    )
    return Grid(title, caption, columns, rows)


def scores_of(outcomes: Outcomes, metric: Metric) -> list[float]:
    """A test score of the finished searches that have it."""
    return [value for o in outcomes if (value := o.score(metric)) is not None]


def cells_of(outcomes: Outcomes) -> list[Outcomes]:
    """Groups of searches that differ by nothing but their seed."""
    return [cell for _, cell in _by(outcomes, lambda o: (*o.cell, o.identity.method))]


def _by(outcomes: Outcomes, key: Callable[[SearchOutcome], Any]) -> Iterable[tuple[Any, Outcomes]]:
    return [(value, list(group)) for value, group in groupby(sorted(outcomes, key=key), key=key)]


def _pick(outcomes: Outcomes, method: str, data: str | None = None) -> Outcomes:
    own = [outcome for outcome in outcomes if outcome.identity.method == method]
    return [outcome for outcome in own if data in (None, outcome.identity.data)]


def _best(cells: dict[str, Outcomes], metric: Metric) -> set[str]:
    """The methods with the best mean; empty if there is only one."""
    scores = {method: scores_of(cell, metric) for method, cell in cells.items()}
    fullest = max(map(len, scores.values()))
    means = {m: statistics.fmean(v) for m, v in scores.items() if v and len(v) == fullest}
    if len(means) < 2:
        return set()
    top = max(means.values())
    return {method for method, mean in means.items() if math.isclose(mean, top, rel_tol=1e-12)}


def _score_text(cell: Outcomes, metric: Metric, usual: int) -> str:
    values = [100 * value for value in scores_of(cell, metric)]
    unfinished = [outcome.progress for outcome in cell if not outcome.done]
    failed = sum(outcome.done and outcome.test is None for outcome in cell)
    notes = ([f"n={len(values)}"] if values and len(values) != usual else []) + unfinished
    notes += [f"{failed} failed"] if failed else []
    if not values:
        return ", ".join(notes) or MISSING
    return _mean_std(values, 1) + (f" ({', '.join(notes)})" if notes else "")


def _score_caption(outcomes: Outcomes, usual: int) -> str:
    if usual == 0:
        return "No search is finished yet; 12/100 counts finished evaluations."
    spread = (
        f"mean ± sample standard deviation over n = {usual} seeds"
        if usual > 1
        else "n = 1 seed, so there is no standard deviation"
    )
    other = " unless n is given" if usual > 1 else ""
    caption = (
        f"Test images, in percent: {spread}{other}. Bold: the best mean of a column in its "
        "fraction, among those with the most seeds. A bold mean may be best by chance. "
        f"{MISSING}: no such search (yet)."
    )
    if all(outcome.done for outcome in outcomes):
        return caption
    return f"{caption} 12/100: an unfinished search with its evaluations so far."


def _cost_texts(cell: Outcomes) -> list[str]:
    ended = [outcome for outcome in cell if outcome.done]
    unfinished = ", ".join(outcome.progress for outcome in cell if not outcome.done)
    if not ended:
        return ["0", unfinished, *[MISSING] * 3]
    texts = [_mean_range([getattr(outcome.result, key) for outcome in ended]) for key in COSTS]
    return [str(len(ended)), texts[0] + (f" ({unfinished})" if unfinished else ""), *texts[1:]]


def _budget_text(outcomes: Outcomes) -> str:
    ended = [outcome for outcome in outcomes if outcome.done]
    off = [f"{o.name} ({o.progress})" for o in ended if not o.spent_exactly]
    if off:
        return f"Searches that did not spend exactly their budget: {', '.join(off)}."
    return "Every finished search spent exactly its budget." if ended else ""


def _optimism_texts(ended: Outcomes, metric: Metric) -> list[str]:
    scale, digits = (100, 1) if is_share(metric) else (1, 3)
    pairs = [
        (scale * v, scale * t)
        for o in ended
        if o.validation and (v := metric.value(o.validation)) is not None
        and (t := o.score(metric)) is not None
    ]  # fmt: skip
    means = [_mean([pair[index] for pair in pairs], digits) for index in (0, 1)]
    return [*means, _mean_std([v - t for v, t in pairs], digits, signed=True)]


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
