"""The table of genes holds the evaluations that say something about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from revo_ray.report.figures.genes import read_genes
from revo_ray.report.figures.rates import rates_by_depth
from revo_ray.report.loaded_run import load_run
from revo_ray.rundir import RunDirectory
from tests.report.evolved import write_evolved


def test_what_says_nothing_of_a_gene_is_left_out(tmp_path: Path) -> None:
    write_evolved(tmp_path, "run", failing=[3, 4], method="revo-binary")
    genes = read_genes([load_run(RunDirectory(str(tmp_path / "run")))])
    assert genes is not None
    assert len(genes.ranks) == 39  # the error is out; what diverged ranks last
    assert genes.ranks.max() == 1
    assert genes.powers == {"global_lr"}
    assert genes.values[:, genes.names.index("global_lr")].max() <= 0


def test_a_sweep_says_nothing_of_a_gene(tmp_path: Path) -> None:
    write_evolved(tmp_path, "run", ["method.sweep=true"], failing=[13])
    run = load_run(RunDirectory(str(tmp_path / "run")))
    genes = read_genes([run])
    assert genes is not None
    logs = [np.log10(row.unit_lrs) for row in run.rows[10:] if row.status != "error"]
    np.testing.assert_allclose(genes.values, logs)  # rates, not genes between 0 and 1
    chart = rates_by_depth(run)
    assert chart is not None
    assert {row["plans"]: row["n"] for row in chart.rows} == {"best": 6, "others": 23}
    assert "10 of the sweep" in genes.note
    assert "10 of the sweep" in chart.caption
