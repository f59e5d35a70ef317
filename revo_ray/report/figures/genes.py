"""Which genes mattered: what a forest learns from the ledger, and how far it can be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats
from sklearn import config_context
from sklearn.ensemble import ExtraTreesRegressor

from revo_ray.report.figures.chart import Chart
from revo_ray.report.loaded_run import Run
from revo_ray.report.style import BLUE, FAINT, MUTED, styled
from revo_ray.rundir.evaluation import Evaluation

FLOATS = NDArray[np.float64]
RESAMPLES = 40
"""Bootstrap samples of the rows."""
SHUFFLES, FORESTS = 20, 2
"""Ledgers with losses dealt out at random, and forests that learn from each."""
LEAST_ROWS, MOST_ROWS = 20, 800
"""Evaluations that forests learn from; of more, so many at random."""
DECADES = 50
"""Between the least and the most of a gene that is drawn as powers of ten."""
TREES = 30
SHOWN = 20


@dataclass(frozen=True)
class Genes:
    """The evaluations of one or more searches as a table: a column for each gene.

    Attributes:
        names: of the genes.
        values: `rows × genes`.
        powers: genes that span decades, whose values are powers of ten.
        ranks: of the validation loss inside its own search, from 0 (best) to 1.
        searches: which search each row is of.
    """

    names: list[str]
    values: FLOATS
    ranks: FLOATS
    searches: NDArray[np.int64]
    powers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Importance:
    """What the forest says of each gene.

    Attributes:
        genes: what it learnt from.
        means, lows, highs: of the drop in explained variance (R²) of rows that a forest has not
            seen, where a gene's values are shuffled; the 90 % bootstrap interval.
        explained: R² on such rows: mean and 90 % interval.
        threshold: what the largest importance stays below in 95 % of forests that learn from
            losses dealt out at random.
        directions: Spearman's correlation of gene and loss rank; above 0, more is worse.
    """

    genes: Genes
    means: FLOATS
    lows: FLOATS
    highs: FLOATS
    explained: tuple[float, float, float]
    threshold: float
    directions: FLOATS

    @property
    def decided(self) -> list[int]:
        """Genes whose interval lies above what chance gives to any gene, most important first."""
        if self.explained[1] <= 0:
            return []
        beyond = (self.lows > 0) & (self.means > self.threshold)
        return [int(gene) for gene in self.order if beyond[gene]]

    @property
    def order(self) -> NDArray[np.int64]:
        """Genes, most important first."""
        return np.argsort(-self.means, kind="stable")


def read_genes(runs: Sequence[Run]) -> Genes | None:
    """The genes of searches of one space; None where they have none that vary.

    A loss that was not finite ranks last. Errors, evaluations that a scheduler stopped, and
    repeats of a genome say nothing about a gene and are left out.
    """
    rows, searches, ranks = [], [], []
    for index, run in enumerate(runs):
        own = [row for row in run.rows if _counts(row)]
        if len(own) < 2:
            continue
        rows += own
        searches += [index] * len(own)
        losses = [row.score[0] for row in own]
        ranks += list((stats.rankdata(losses) - 1) / (len(own) - 1))
    keys = [key for key in (rows[0].sample if rows else {}) if all(key in r.sample for r in rows)]
    columns = {key: _numbers([row.sample[key] for row in rows]) for key in keys}
    columns = {key: column for key, column in columns.items() if len(set(column)) > 1}
    if not columns:
        return None
    powers = frozenset(key for key, column in columns.items() if _spans_decades(column))
    logs = (_powers(c) if key in powers else c for key, c in columns.items())
    return Genes(
        list(columns), np.stack(list(logs), axis=1), np.array(ranks), np.array(searches), powers
    )


def measure(genes: Genes) -> Importance | None:
    """Permutation importance with its uncertainty; None where there are too few rows.

    A forest learns from a bootstrap sample of the rows and is asked about the others, with each
    gene's values shuffled in turn (Breiman, Machine Learning 45, 2001, section 10).
    """
    count = len(genes.ranks)
    if count < LEAST_ROWS or len(set(genes.ranks)) < 3:
        return None
    if count > MOST_ROWS:
        kept = np.sort(np.random.default_rng(0).choice(count, MOST_ROWS, replace=False))
        ranks, searches = genes.ranks[kept], genes.searches[kept]
        genes = replace(genes, values=genes.values[kept], ranks=ranks, searches=searches)
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return _measure(genes, np.random.default_rng(0))


def _measure(genes: Genes, rng: np.random.Generator) -> Importance:
    forests = [_ask_forest(genes, genes.ranks, rng) for _ in range(RESAMPLES)]
    drops = np.array([drop for drop, _ in forests])
    scores = np.array([score for _, score in forests])
    largest = []
    for _ in range(SHUFFLES):
        dealt = _deal(genes, rng)
        # A mean of few forests varies more than one of many: the threshold errs upwards.
        means = np.mean([_ask_forest(genes, dealt, rng)[0] for _ in range(FORESTS)], axis=0)
        largest.append(means.max())
    lows, highs = np.quantile(drops, (0.05, 0.95), axis=0)
    low, high = np.quantile(scores, (0.05, 0.95))
    return Importance(
        genes=genes,
        means=drops.mean(axis=0),
        lows=lows,
        highs=highs,
        explained=(float(scores.mean()), float(low), float(high)),
        threshold=max(0.0, float(np.quantile(largest, 0.95))),
        directions=np.array([_spearman(column, genes.ranks) for column in genes.values.T]),
    )


@styled()
def importance_chart(importance: Importance, name: str, title: str) -> Chart:
    """The most important genes, each with its interval, and what chance reaches."""
    order = importance.order[:SHOWN]
    names = importance.genes.names
    longest = max(len(names[gene]) for gene in order)
    figure = Figure(figsize=(5.6 + 0.07 * min(longest, 40), 1.2 + 0.24 * len(order)))
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    decided = set(importance.decided)
    for place, gene in enumerate(order):
        colour = BLUE if gene in decided else MUTED
        ends = [importance.lows[gene], importance.highs[gene]]
        axes.plot(ends, [place, place], color=colour, lw=1.8, alpha=0.7, solid_capstyle="butt")
        axes.plot([importance.means[gene]], [place], "o", color=colour, ms=5,
                  mfc=colour if gene in decided else "white")  # fmt: skip
    axes.axvline(0, color=MUTED, lw=0.8)
    left, right = axes.get_xlim()
    right = max(right, importance.threshold * 1.1)
    axes.axvspan(left, importance.threshold, color=FAINT, alpha=0.5, lw=0, zorder=0)
    axes.set_xlim(left, right)
    axes.set_yticks(
        range(len(order)),
        [f"{names[gene]} {_arrow(importance.directions[gene])}" for gene in order],
        fontsize=8,
    )
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("drop in explained variance (R²) when the gene is shuffled")
    rows = [
        {
            "gene": names[gene],
            "importance": float(importance.means[gene]),
            "low": float(importance.lows[gene]),
            "high": float(importance.highs[gene]),
            "spearman": float(importance.directions[gene]),
            "decided": int(gene in decided),
            "threshold": importance.threshold,
            "rows": len(importance.genes.ranks),
            "r2": importance.explained[0],
            "r2_low": importance.explained[1],
            "r2_high": importance.explained[2],
        }
        for gene in map(int, importance.order)
    ]
    return Chart(name, title, importance_words(importance), figure, rows)


def importance_words(importance: Importance) -> str:
    """What can be said of the genes, and what cannot."""
    count, genes = importance.genes.values.shape
    shown = f"{min(SHOWN, genes)} of {genes} genes" if genes > SHOWN else f"{genes} genes"
    mean, low, high = (f"{100 * value:.0f}".replace("-", "−") for value in importance.explained)
    learnt = (
        f"Forests of extremely randomised trees that learnt from {count} evaluations explain "
        f"{mean} % of the variance of the loss's rank in evaluations that they have not seen (90 % "
        f"interval {low} … {high} %; 0 is what the mean rank explains)."
    )
    if importance.explained[1] <= 0:
        verdict = "That may be nothing: this ledger cannot tell which genes mattered."
    elif not importance.decided:
        verdict = (
            "No single gene stands out from what chance gives: the ledger cannot tell which "
            "mattered."
        )
    else:
        names = [importance.genes.names[gene] for gene in importance.decided]
        verdict = f"Told apart from chance: {', '.join(names)}."
    return (
        f"{learnt} {verdict} Dot and line: mean and 90 % bootstrap interval ({shown}); the shaded "
        f"part is what the most important of {genes} genes reaches in 19 of 20 ledgers whose "
        "losses were dealt out at random. Arrows: losses rise (↑) or fall (↓) with the gene, "
        "where Spearman's correlation is at least 0.2. Genes that vary together share their "
        "importance, and a search looks longer where it found good ones: this is a description of "
        "the ledger, not of causes."
    )


def _counts(row: Evaluation) -> bool:
    return row.status == "diverged" or (row.status == "ok" and row.scored)


def _numbers(values: Sequence[Any]) -> FLOATS:
    """A gene's values as numbers; choices that are none by their place among the sorted names."""
    if all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        return np.array(values, dtype=np.float64)
    known = sorted(set(map(str, values)))
    return np.array([known.index(str(value)) for value in values], dtype=np.float64)


def _spans_decades(column: FLOATS) -> bool:
    positive = column[column > 0]
    return len(positive) > 0 and column.min() >= 0 and column.max() / positive.min() > DECADES


def _powers(column: FLOATS) -> FLOATS:
    """Powers of ten; a rate of 0 one below all others."""
    logs = np.log10(column, where=column > 0, out=np.full_like(column, np.nan))
    return np.nan_to_num(logs, nan=float(np.nanmin(logs)) - 1)


def _ask_forest(genes: Genes, ranks: FLOATS, rng: np.random.Generator) -> tuple[FLOATS, float]:
    """The importances and R² of one forest, on the rows that it has not learnt from."""
    values = genes.values
    count, width = values.shape
    # A genome that stands in several rows (searches of one seed begin with the same ones) is
    # drawn or left out as a whole: else a forest would be asked about what it has seen.
    _, genome = np.unique(values, axis=0, return_inverse=True)
    drawn = rng.integers(0, genome.max() + 1, genome.max() + 1)
    learnt = np.concatenate([np.flatnonzero(genome == number) for number in drawn])
    unseen = np.setdiff1d(np.arange(count), learnt)
    forest = ExtraTreesRegressor(
        TREES, min_samples_leaf=2, max_features=0.5, random_state=int(rng.integers(2**31))
    )
    forest.fit(values[learnt], ranks[learnt])
    # All shuffled copies in one call: sklearn's permutation_importance makes one for each gene,
    # which takes a hundred times as long.
    copies = np.tile(values[unseen], (width + 1, 1, 1))
    for gene in range(width):
        copies[gene + 1, :, gene] = rng.permutation(copies[gene + 1, :, gene])
    answers = forest.predict(copies.reshape(-1, width)).reshape(width + 1, -1)
    errors = ((answers - ranks[unseen]) ** 2).mean(axis=1)
    spread = max(float(np.var(ranks[unseen])), 1e-12)
    return (errors[1:] - errors[0]) / spread, float(1 - errors[0] / spread)


def _deal(genes: Genes, rng: np.random.Generator) -> FLOATS:
    """The ranks of each search, dealt out among its rows at random."""
    dealt = genes.ranks.copy()
    for search in np.unique(genes.searches):
        own = genes.searches == search
        dealt[own] = rng.permutation(dealt[own])
    return dealt


def _spearman(column: FLOATS, ranks: FLOATS) -> float:
    return float(stats.spearmanr(column, ranks).statistic)


def _arrow(direction: float) -> str:
    return "↑" if direction >= 0.2 else "↓" if direction <= -0.2 else " "
