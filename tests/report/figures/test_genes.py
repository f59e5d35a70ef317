"""The table of genes holds the evaluations that say something about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from revo_ray.report.figures.genes import read_genes
from revo_ray.report.figures.rates import rates_by_depth
from revo_ray.report.loaded_run import Run, load_run, load_runs
from revo_ray.report.outcomes import load_outcomes
from revo_ray.rundir import RunDirectory, StudyDirectory
from tests.report.evolved import unit_names, write_evolved
from tests.report.studies import place


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


@pytest.mark.parametrize("finished", [False, True])
def test_rates_are_axes_before_there_is_a_best_model(tmp_path: Path, finished: bool) -> None:
    write_evolved(tmp_path, "a-running", place("digits", 0.5, 0), rows=13, described=False)
    if finished:
        write_evolved(tmp_path, "b-finished", place("digits", 0.5, 1))
    genes = read_genes(runs_in(tmp_path))
    assert genes is not None
    assert genes.names == unit_names(12)
    assert genes.powers == set(genes.names)
    assert (genes.values <= 0).all()


def runs_in(folder: Path) -> list[Run]:
    (folder / "study.yaml").write_text("name: study\nstudy: {methods: [random]}\n")
    return load_runs(load_outcomes(StudyDirectory(str(folder))))


def test_a_search_takes_its_units_from_another_one_of_its_network(tmp_path: Path) -> None:
    write_evolved(tmp_path, "a-running", rows=13, described=False, method="revo-binary")
    write_evolved(tmp_path, "b-finished")
    alone = load_run(RunDirectory(str(tmp_path / "a-running")))
    assert not alone.is_named
    assert alone.units[0] == "unit 1"
    runs = runs_in(tmp_path)
    assert {tuple(run.units) for run in runs} == {tuple(unit_names(12))}


def test_a_row_without_rates_is_left_out_and_counted(tmp_path: Path) -> None:
    write_evolved(tmp_path, "run")
    run = load_run(RunDirectory(str(tmp_path / "run")))
    run.rows[7] = run.rows[7].model_copy(update={"unit_lrs": []})
    genes = read_genes([run])
    assert genes is not None
    assert len(genes.ranks) == 39
    assert "1 without a plan" in genes.note
