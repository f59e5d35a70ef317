"""Importance finds genes that were planted, and nothing in noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from revo_ray.objective import METRICS
from revo_ray.report.figures.genes import Genes
from revo_ray.report.figures.importance import (
    importance_chart,
    importance_text,
    measure,
    undecided_text,
)


def planted(rows: int, noise: float, seed: int = 0) -> Genes:
    rng = np.random.default_rng(seed)
    values = rng.random((rows, 25))
    losses = 3 * values[:, 4] - 2 * values[:, 11] + rng.normal(0, noise, rows)
    ranks = (stats.rankdata(losses) - 1) / (rows - 1)
    return Genes([f"gene {i}" for i in range(25)], values, ranks, np.zeros(rows, int))


def test_planted_genes_are_found_with_their_direction() -> None:
    found = measure(planted(120, 0.2))
    assert found is not None
    assert set(found.decided) == {4, 11}
    assert found.directions[4] > 0.2
    assert found.directions[11] < -0.2
    assert "2 decided genes" in importance_text(found)


def test_directions_are_those_of_the_objective() -> None:
    """A rank near 0 is good: a low loss, and a high accuracy."""
    genes = planted(120, 0.2)
    found = measure(replace(genes, objective=METRICS["balanced_accuracy"]))
    assert found is not None
    assert found.directions[4] < -0.2
    assert found.directions[11] > 0.2
    assert "↑: the balanced accuracy rises" in importance_text(found)


def test_a_ledger_of_noise_cannot_tell() -> None:
    found = measure(planted(60, 1000.0))
    assert found is not None
    assert found.decided == []
    assert "cannot tell" in undecided_text(found)
    assert importance_chart(found, "importance", "") is None
    assert measure(planted(19, 0.1)) is None


def test_a_genome_in_several_rows_is_no_evidence_for_itself() -> None:
    """Forests that had seen a copy of what they are asked about would explain pure noise."""
    genes = planted(30, 1000.0)
    tripled = Genes(
        genes.names,
        np.concatenate([genes.values] * 3),
        np.concatenate([genes.ranks] * 3),
        np.repeat([0, 1, 2], 30),
    )
    found = measure(tripled)
    assert found is not None
    assert found.explained[0] < 0.2
