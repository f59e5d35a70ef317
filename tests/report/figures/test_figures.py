"""What figures compute: against brute force, and against what was planted in a ledger."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from revo_ray.report.figures.curves import best_of_draws
from revo_ray.report.figures.genes import Genes, importance_words, measure, read_genes
from revo_ray.report.figures.network import groups
from revo_ray.report.loaded_run import load_runs
from revo_ray.report.style import looks
from revo_ray.storage import Storage
from tests.report.evolved import write_evolved

METHODS = ["revo-continuous", "revo-binary", "random", "set-encoding", "full", "first", "last"]
METHODS += ["layer-decay", "auto-rgn"]


@pytest.mark.parametrize("losses", [[3.0, 1.0, 2.0, 5.0, 4.0], [2.0, np.inf, 2.0, np.inf, 1.0]])
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_best_of_random_draws_is_that_of_all_orders(
    losses: list[float], quantile: float
) -> None:
    curves = [np.minimum.accumulate(order) for order in itertools.permutations(losses)]
    expected = np.quantile(curves, quantile, axis=0, method="inverted_cdf")
    assert best_of_draws(losses, quantile).tolist() == expected.tolist()


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
    assert "Told apart from chance: gene 4, gene 11" in importance_words(found)


def test_a_ledger_of_noise_cannot_tell() -> None:
    found = measure(planted(60, 1000.0))
    assert found is not None
    assert found.decided == []
    assert "cannot tell" in importance_words(found)
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


def test_what_says_nothing_of_a_gene_is_left_out(tmp_path: Path) -> None:
    write_evolved(tmp_path, "run", failing=[3, 4], method="revo-binary")
    genes = read_genes(load_runs(Storage(str(tmp_path / "run"))))
    assert genes is not None
    assert len(genes.ranks) == 39  # the error is out; what diverged ranks last
    assert genes.ranks.max() == 1
    assert genes.powers == {"global_lr"}
    assert genes.values[:, genes.names.index("global_lr")].max() <= 0


def test_units_are_grouped_by_their_names() -> None:
    units = ["conv_stem", "blocks.0.0.conv", "blocks.0.1.conv", "blocks.1.0.conv", "classifier"]
    found = [("conv_stem", 0, 1), ("blocks.0", 1, 3), ("blocks.1", 3, 4), ("classifier", 4, 5)]
    assert groups(units) == found
    resnet = ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "fc"]
    assert [name for name, *_ in groups(resnet)] == ["conv1", "layer1.0", "layer1.1", "fc"]


def test_each_method_has_a_look_of_its_own_everywhere() -> None:
    everywhere = looks([*METHODS, "random (encoding binary)", "my-own"])
    assert len({(look.colour, look.marker, str(look.dash)) for look in everywhere.values()}) == 11
    for method in METHODS:
        assert looks([method])[method] == everywhere[method]
