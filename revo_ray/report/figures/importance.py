"""Importance of the genes: a forest learns from the ledger, with a test of how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats
from sklearn import config_context
from sklearn.ensemble import ExtraTreesRegressor

from revo_ray.report.figures.chart import FLOATS, Chart
from revo_ray.report.figures.genes import Genes
from revo_ray.report.scores import is_share
from revo_ray.report.style import BLUE, FAINT, MUTED, styled

RESAMPLES = 40
"""Number of bootstrap samples of the rows."""
SHUFFLES, FORESTS = 20, 2
"""Number of shuffled ledgers, and of forests that learn from each."""
LEAST_ROWS, MOST_ROWS = 20, 800
"""Fewest and most evaluations that forests learn from; more are sampled."""
TREES = 30
SHOWN = 20
"""Most genes in the figure."""


@dataclass(frozen=True)
class Importance:
    """Importance of each gene.

    Attributes:
        genes: the evaluations.
        means, lows, highs: drop in explained variance (R²) on rows that a forest has not seen if
            a gene's values are shuffled: mean and 90 % bootstrap interval.
        explained: R² on such rows: mean and 90 % interval.
        threshold: 95 % of forests that learn from a shuffled ledger give no gene more than this.
        directions: Spearman's correlation of gene and objective.
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
        """Genes whose importance is beyond chance, most important first."""
        if self.explained[1] <= 0:
            return []
        beyond = (self.lows > 0) & (self.means > self.threshold)
        return [int(gene) for gene in self.order if beyond[gene]]

    @property
    def order(self) -> NDArray[np.int64]:
        """Genes, most important first."""
        return np.argsort(-self.means, kind="stable")


def measure(genes: Genes) -> Importance | None:
    """Permutation importance with its uncertainty; None if there are too few rows.

    A forest learns from a bootstrap sample of the rows and predicts the others, with each gene's
    values shuffled in turn (Breiman, Machine Learning 45, 2001, section 10).
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
        shuffled = _shuffle(genes, rng)
        # A mean of few forests varies more than one of many: the threshold errs upwards.
        means = np.mean([_ask_forest(genes, shuffled, rng)[0] for _ in range(FORESTS)], axis=0)
        largest.append(means.max())
    lows, highs = np.quantile(drops, (0.05, 0.95), axis=0)
    low, high = np.quantile(scores, (0.05, 0.95))
    sign = -1 if is_share(genes.objective) else 1  # rank 0 is the best
    return Importance(
        genes=genes,
        means=drops.mean(axis=0),
        lows=lows,
        highs=highs,
        explained=(float(scores.mean()), float(low), float(high)),
        threshold=max(0.0, float(np.quantile(largest, 0.95))),
        directions=np.array([stats.spearmanr(c, sign * genes.ranks)[0] for c in genes.values.T]),
    )


@styled()
def importance_chart(importance: Importance, name: str, title: str) -> Chart | None:
    """Draw the most important genes with their intervals; None if the ledger decides on no gene."""
    if not importance.decided:
        return None
    order, names = importance.order[:SHOWN], importance.genes.names
    longest = max(len(names[gene]) for gene in order)
    size = 5.6 + 0.07 * min(longest, 40), 1.2 + 0.24 * len(order)
    figure = Figure(figsize=size, layout="constrained")
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
    labels = [f"{names[gene]} {_arrow(importance.directions[gene])}" for gene in order]
    axes.set_yticks(range(len(order)), labels, fontsize=8)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("drop in explained variance (R²) when the gene is shuffled")
    fit = dict(zip(("r2", "r2_low", "r2_high"), importance.explained, strict=True))
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
        }
        | fit
        for gene in map(int, importance.order)
    ]
    return Chart(name, title, importance_text(importance), figure, rows)


def importance_text(importance: Importance) -> str:
    """The caption: the decided genes, and the meaning of the marks."""
    genes = len(importance.genes.names)
    shown = f"{min(SHOWN, genes)} of {genes} genes"
    return (
        f"Filled: {len(importance.decided)} decided genes; {shown} shown. Lines: 90 % bootstrap "
        f"intervals. Shaded: chance. ↑: the {importance.genes.objective.title} rises with the "
        f"gene. Related genes share importance. {importance.genes.note}".strip()
    )


def undecided_text(importance: Importance) -> str:
    """The reason why no importance is shown."""
    count, genes = importance.genes.values.shape
    mean, low, high = (f"{100 * value:.0f}".replace("-", "−") for value in importance.explained)
    return (
        f"{count} evaluations cannot tell which of {genes} genes mattered: no gene stands out from "
        f"chance. Trees that learnt from them explain {mean} % of the variance of other "
        f"evaluations' ranks (90 % interval {low} … {high} %)."
    )


def _ask_forest(genes: Genes, ranks: FLOATS, rng: np.random.Generator) -> tuple[FLOATS, float]:
    """Importances and R² of one forest, on the rows that it has not learnt from."""
    values = genes.values
    count, width = values.shape
    # Several rows may have one genome: searches of one seed begin with the same ones. They are
    # drawn or left out together; otherwise the forest would predict genomes that it has seen.
    _, genome = np.unique(values, axis=0, return_inverse=True)
    drawn = rng.integers(0, genome.max() + 1, genome.max() + 1)
    learnt = np.concatenate([np.flatnonzero(genome == number) for number in drawn])
    unseen = np.setdiff1d(np.arange(count), learnt)
    forest = ExtraTreesRegressor(
        TREES, min_samples_leaf=2, max_features=0.5, random_state=int(rng.integers(2**31))
    )
    forest.fit(values[learnt], ranks[learnt])
    # One call predicts all shuffled copies: sklearn's permutation_importance calls once for each
    # gene and takes a hundred times as long.
    copies = np.tile(values[unseen], (width + 1, 1, 1))
    for gene in range(width):
        copies[gene + 1, :, gene] = rng.permutation(copies[gene + 1, :, gene])
    answers = forest.predict(copies.reshape(-1, width)).reshape(width + 1, -1)
    errors = ((answers - ranks[unseen]) ** 2).mean(axis=1)
    spread = max(float(np.var(ranks[unseen])), 1e-12)
    return (errors[1:] - errors[0]) / spread, float(1 - errors[0] / spread)


def _shuffle(genes: Genes, rng: np.random.Generator) -> FLOATS:
    """The ranks, shuffled among the rows of each search."""
    shuffled = genes.ranks.copy()
    for search in np.unique(genes.searches):
        own = genes.searches == search
        shuffled[own] = rng.permutation(shuffled[own])
    return shuffled


def _arrow(direction: float) -> str:
    return "↑" if direction >= 0.2 else "↓" if direction <= -0.2 else " "
