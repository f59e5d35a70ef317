"""The statistics of a study as text, with the limits of the data."""

from __future__ import annotations

from collections.abc import Iterator

from revo_ray.report.grid import MISSING, Cell, Column, Grid, to_markdown
from revo_ray.report.paired_tests import Comparison
from revo_ray.report.ranking import Ranking, blocks_needed, smallest_friedman_p
from revo_ray.report.scores import ACCURACY
from revo_ray.report.study_statistics import MetricStatistics, StudyStatistics
from revo_ray.words import counted

FEW = 10
"""Number of blocks below which the text calls an approximation rough."""


def to_text(study: StudyStatistics, figure: str | None = None) -> str:
    """The statistics as Markdown.

    Args:
        study: the statistics.
        figure: path of the rank diagram, relative to the text.
    """
    return "\n\n".join(_paragraphs(study, figure)) + "\n"


def _paragraphs(study: StudyStatistics, figure: str | None) -> Iterator[str]:
    yield "# Statistics"
    yield _progress(study)
    if len(study.methods) < 2:
        yield "Nothing can be compared before two methods have finished searches."
        return
    first = next((m for m in study.metrics if m.metric == ACCURACY), study.metrics[0])
    yield "\n".join(f"- {sentence(c, study, first.metric.title)}" for c in first.comparisons)
    for metric in study.metrics:
        yield to_markdown(_comparison_grid(study, metric)).rstrip()
        yield to_markdown(_rank_grid(metric)).rstrip()
        yield "One block a seed: " + _ranking_text(metric.ranking)
        yield "Stricter, one block a cell: " + _ranking_text(metric.ranking_by_cell)
    if figure:
        yield f"![Average ranks and critical differences]({figure})"
    yield "## How to read this"
    yield "\n".join(f"- {line}" for line in _reading(study))


def _progress(study: StudyStatistics) -> str:
    least, most = study.seeds
    seeds = f"{most}" if least == most else f"{least} to {most}"
    text = (
        f"{study.finished} of {study.searches} searches are finished: "
        f"{counted(len(study.methods), 'method')} in {counted(study.cells, 'cell')} "
        f"(model × data set × fraction), with {seeds} seed{'s' * (most != 1)} in each."
    )
    if study.finished < study.searches:
        text = f"**Partial.** {text} The statistics below cover these, and will change."
    if study.waiting:
        text += f" Without a result yet: {', '.join(study.waiting)}."
    return text


def _comparison_grid(study: StudyStatistics, metric: MetricStatistics) -> Grid:
    names = ["pairs", "better / equal / worse", "mean difference"]
    names += [f"{100 * (1 - study.alpha):g} % interval", "visible", "p", "p (Holm)"]
    columns = [Column("method", numbers=False), *map(Column, names)]
    columns.append(Column("verdict", numbers=False))
    rows = []
    for c in metric.comparisons:
        found = c.difference
        texts = [c.method, str(c.pairs), f"{c.wins} / {c.ties} / {c.losses}", _points(found.mean)]
        bounds = found.low is not None and found.high is not None
        texts.append(f"{_points(found.low)} … {_points(found.high)}" if bounds else MISSING)
        texts.append(_points(found.visible).replace("+", "±"))
        texts += [_p(found.p), _p(c.p_holm), verdict(c, study.alpha)]
        rows.append([Cell(text) for text in texts])
    caption = (
        f"Test {metric.metric.title} minus that of {study.reference}, in percentage points, paired "
        "by model, data set, fraction and seed; better, equal and worse count the pairs. Visible: "
        "half of the interval's width; a smaller difference would not have been decided."
    )
    title = f"{metric.metric.title}: every method against {study.reference}"
    return Grid(title, caption, columns, rows)


def verdict(comparison: Comparison, alpha: float) -> str:
    """The result of a comparison in a few words: `better`, `not decided`, …"""
    if comparison.pairs == 0:
        return "no pairs yet"
    if comparison.ties == comparison.pairs:
        return "equal in every pair"
    if comparison.p_holm is None:
        return "cannot be decided"
    if comparison.p_holm > alpha:
        return "not decided"
    return "better" if (comparison.difference.mean or 0.0) > 0 else "worse"


def sentence(comparison: Comparison, study: StudyStatistics, title: str) -> str:
    """A comparison as a plain sentence, from the reference's side."""
    found, other = comparison.difference, comparison.method
    if found.mean is None:
        return f"{study.reference} and {other} have no seed in common yet."
    start = f"{study.reference} has {_points(-found.mean)} points of test {title} against {other}"
    if found.visible is None:
        return f"{start}; one pair decides nothing."
    seeds = counted(comparison.pairs, "pair")
    decided = {"better": "it is worse", "worse": "it is better"}.get(
        verdict(comparison, study.alpha), "not decided"
    )
    chance = _p(comparison.p_holm)
    chance = f"p {chance}" if chance.startswith("<") else f"p = {chance}"
    return f"{start} (± {_points(found.visible).lstrip('+')}, {seeds}, {chance}): {decided}."


def _rank_grid(metric: MetricStatistics) -> Grid:
    by_seed, by_cell = (
        dict(zip(ranking.methods, ranking.ranks, strict=False))
        for ranking in (metric.ranking, metric.ranking_by_cell)
    )
    columns = [Column("method", numbers=False)]
    columns += [Column("one block a seed"), Column("one block a cell")]
    rows = [
        [Cell(method)] + [Cell(_rank(ranks.get(method))) for ranks in (by_seed, by_cell)]
        for method in metric.ranking.methods
    ]
    caption = (
        "A block is one seed of a cell, or one cell (its mean over seeds). In each block rank 1 is "
        "the best score; equal scores share the mean of their ranks."
    )
    return Grid(f"{metric.metric.title}: average ranks", caption, columns, rows)


def _ranking_text(ranking: Ranking) -> str:
    count, blocks, alpha = len(ranking.methods), ranking.blocks, ranking.alpha
    left_out = (
        f" ({ranking.left_out} left out, where not every method has a result)"
        if ranking.left_out
        else ""
    )
    start = f"{counted(blocks, 'complete block')}{left_out}."
    if ranking.critical_difference is None:
        return f"{start} Nothing can be ranked."
    text = f"{start} {_friedman_text(ranking)}"
    distance = f"Nemenyi's critical difference is {ranking.critical_difference:.2f}"
    if not ranking.could_decide:
        return (
            f"{text} {distance}, more than ranks from 1 to {count} can be apart: no two methods "
            f"can be told apart. That takes at least {blocks_needed(count, alpha)} blocks."
        )
    if ranking.p is not None and ranking.p > alpha:
        return f"{text} So their ranks are not compared further."
    groups = "; ".join(", ".join(group) for group in ranking.groups)
    apart = f"Not told apart: {groups}." if groups else "All methods are told apart."
    return f"{text} {distance}: methods whose average ranks are closer are not told apart. {apart}"


def _friedman_text(ranking: Ranking) -> str:
    count, blocks = len(ranking.methods), ranking.blocks
    if ranking.p is None:
        why = "for two methods see the t test" if count == 2 else "one block has nothing to test"
        return f"No Friedman test: {why}."
    least = smallest_friedman_p(count, blocks)
    text = f"Friedman's test: χ² = {ranking.statistic:.2f}, p = {_p(ranking.p)}"
    rough = " (roughly: there are few blocks)" if blocks < FEW else ""
    if least > ranking.alpha:
        return (
            f"{text}; with {blocks} blocks it could not be below {_p(least)}, so it cannot decide "
            "whether methods differ."
        )
    if ranking.p > ranking.alpha:
        return f"{text}{rough}: no evidence that any two methods differ."
    return f"{text}{rough}: some methods do better than others."


def _reading(study: StudyStatistics) -> Iterator[str]:
    yield (
        "p is the chance of a mean difference this far from 0 if two methods did equally well; up "
        f"to {study.alpha:g} counts as decided. “Not decided” does not mean equal: these data do "
        "not show a difference."
    )
    yield (
        "Intervals and p are those of the paired t test. Over several cells each cell has the same "
        "weight, and the degrees of freedom are Satterthwaite's. Cells on one data set share the "
        "splits of a seed, so their differences under a seed count as one draw."
    )
    *titles, last = [metric.metric.title for metric in study.metrics]
    yield (
        "p (Holm), which the sentences have, is corrected for comparing several methods with one "
        "reference. "
        f"{', '.join(titles)} and {last} measure the same searches and are not corrected for each "
        "other."
    )
    yield (
        "Seeds and fractions of one data set share images, so blocks and pairs depend on each "
        "other: the tests predict new seeds on these data sets, not new data sets. One block a "
        "cell is stricter. Ranks: Demšar, JMLR 7 (2006)."
    )


def _p(value: float | None) -> str:
    """Two significant digits: 0.25, 0.031, 1; `< 0.001` below that."""
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def _points(value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")  # + 0.0: no minus zero


def _rank(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"
