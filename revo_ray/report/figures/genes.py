"""Genes of evaluations as a table: the input of importance and parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from revo_ray.objective import LOSS, Metric
from revo_ray.report.figures.chart import FLOATS
from revo_ray.report.figures.left_out import left_out_text
from revo_ray.report.loaded_run import Run
from revo_ray.rundir import Evaluation

DECADES = 50
"""A gene whose largest value is more than this times the smallest is drawn as powers of ten."""


@dataclass(frozen=True)
class Genes:
    """Evaluations of one or more searches as a table with a column for each gene.

    Attributes:
        names: names of the genes.
        values: array `rows × genes`. The gene of a unit stands for the unit's learning rate.
        ranks: rank of the objective within the row's search, from 0 (best) to 1.
        searches: index of each row's search.
        powers: genes whose values are powers of ten.
        frozen: genes of rates that some rows freeze; those stand one power below all others. See
            `trained`.
        objective: the metric that the searches optimise.
        note: a sentence that counts the rows that are left out, and says why; or empty.
    """

    names: list[str]
    values: FLOATS
    ranks: FLOATS
    searches: NDArray[np.int64]
    powers: frozenset[str] = frozenset()
    frozen: frozenset[str] = frozenset()
    objective: Metric = LOSS
    note: str = ""

    def trained(self, name: str) -> FLOATS:
        """A gene's values; NaN where its unit is frozen."""
        column = self.values[:, self.names.index(name)]
        if name not in self.frozen:
            return column
        return np.where(column == column.min(), np.nan, column)


def read_genes(runs: Sequence[Run]) -> Genes | None:
    """The genes of searches with one space and one objective; None if no gene varies.

    Diverged evaluations rank last. Errors, evaluations that a scheduler stopped, repeats of a
    genome, and sweeps, which move all rates at once, say nothing about a gene and are left out.
    """
    rows, searches, ranks = list[Evaluation](), list[int](), list[float]()
    units = next((run.units for run in runs if run.is_named), runs[0].units)
    for index, run in enumerate(runs):
        known = run.rows[len(run.swept) :]
        own = [row for row in known if _is_evidence(row, run.objective, len(units))]
        if len(own) < 2:
            continue
        rows += own
        searches += [index] * len(own)
        costs = [run.objective.rank_of(row)[0] for row in own]
        ranks += list((stats.rankdata(costs) - 1) / (len(own) - 1))
    keys = [key for key in (rows[0].sample if rows else {}) if all(key in r.sample for r in rows)]
    columns = {key: _column(key, rows, units) for key in keys}
    columns = {key: column for key, column in columns.items() if len(set(column)) > 1}
    if not columns:
        return None
    rates = {key for key in columns if _is_rate(key, rows, units)}
    powers = frozenset(k for k, c in columns.items() if k in rates or _spans_decades(c))
    logs = [_powers(c) if key in powers else c for key, c in columns.items()]
    return Genes(
        names=list(columns),
        values=np.stack(logs, axis=1),
        ranks=np.array(ranks),
        searches=np.array(searches),
        powers=powers,
        frozen=frozenset(key for key in powers if not columns[key].all()),
        objective=runs[0].objective,
        note=left_out_text(runs, rows),
    )


def _is_rate(key: str, rows: Sequence[Evaluation], units: Sequence[str]) -> bool:
    """Whether a gene is the rate of a unit, and not a choice to freeze it."""
    return key in units and any(isinstance(row.sample[key], float) for row in rows)


def _column(key: str, rows: Sequence[Evaluation], units: Sequence[str]) -> FLOATS:
    """A gene's values in the unit of a configuration: rates, where the gene is one."""
    if _is_rate(key, rows, units):
        return np.array([row.unit_lrs[units.index(key)] for row in rows], dtype=np.float64)
    return _numbers([row.sample[key] for row in rows])


def _is_evidence(row: Evaluation, objective: Metric, units: int) -> bool:
    if len(row.unit_lrs) != units:
        return False
    return row.status == "diverged" or (row.status == "ok" and objective.counts(row))


def _numbers(values: Sequence[Any]) -> FLOATS:
    """A gene's values as numbers; a choice of names by its place among the sorted names."""
    if all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        return np.array(values, dtype=np.float64)
    known = sorted(set(map(str, values)))
    return np.array([known.index(str(value)) for value in values], dtype=np.float64)


def _spans_decades(column: FLOATS) -> bool:
    positive = column[column > 0]
    return bool(len(positive) and column.min() >= 0 and column.max() / positive.min() > DECADES)


def _powers(column: FLOATS) -> FLOATS:
    """Powers of ten. A rate of 0 becomes one below all others."""
    logs = np.log10(column, where=column > 0, out=np.full_like(column, np.nan))
    return np.nan_to_num(logs, nan=float(np.nanmin(logs)) - 1)
