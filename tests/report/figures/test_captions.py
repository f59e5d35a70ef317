"""Properties of every figure: short captions, users' units, and nothing left out in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from revo_ray.report.figures.chart import Chart
from revo_ray.report.figures.genes import read_genes
from revo_ray.report.figures.parallel import line_colours, parallel_chart
from revo_ray.report.loaded_run import load_run
from revo_ray.report.pages.page import Page
from revo_ray.report.pages.search_page import search_page
from revo_ray.report.pages.study_page import study_page
from revo_ray.report.study_report import study_report
from revo_ray.rundir import RunDirectory, StudyDirectory
from tests.report.evolved import write_evolved, write_study

MOST_WORDS = 40
METHODS = ("revo-binary", "revo-continuous", "random")


def pages(folder: Path) -> list[Page]:
    found = []
    for number, method in enumerate(METHODS):
        sweep = ["method.sweep=true"] if method != "random" else []
        write_evolved(folder, f"run{number}", sweep, method=method, failing=[12, 13, 21], units=30)
        found.append(search_page(load_run(RunDirectory(str(folder / f"run{number}")))))
    write_study(folder / "study", METHODS, fractions=(0.05,), seeds=(0,), evaluations=30)
    study = StudyDirectory(str(folder / "study"))
    runs = [load_run(run) for run in study.runs().values()]
    return [*found, study_page(study_report(study), runs)]


def test_captions_are_short_and_count_what_they_leave_out(tmp_path: Path) -> None:
    charts: list[Chart] = [
        chart for page in pages(tmp_path) for section in page.shown for chart in section.drawn
    ]
    assert {chart.name.partition("-")[0] for chart in charts} >= {"best", "parallel", "rates"}
    long = {chart.caption for chart in charts if len(chart.caption.split()) > MOST_WORDS}
    assert not long


@pytest.mark.parametrize("method", METHODS)
def test_every_evaluation_is_drawn_or_counted(tmp_path: Path, method: str) -> None:
    write_evolved(tmp_path, "run", ["method.sweep=true"] * (method != "random"), method=method,
                  failing=[12, 13, 21])  # fmt: skip
    run = load_run(RunDirectory(str(tmp_path / "run")))
    genes = read_genes([run])
    assert genes is not None
    left_out = sum(int(word) for word in genes.note.replace(",", "").split() if word.isdigit())
    assert len(genes.ranks) + left_out == len(run.rows)


def test_good_lines_are_darker_than_bad_ones() -> None:
    colours = line_colours(np.linspace(0, 1, 50))
    brightness = colours[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > 0).all()
    good, bad = colours[0], colours[-1]
    assert good[2] > good[1], "purple"
    assert bad[0] > 0.6 > bad[2], "yellow"


def test_axes_of_parallel_coordinates_are_learning_rates(tmp_path: Path) -> None:
    write_evolved(tmp_path, "run", units=6)
    run = load_run(RunDirectory(str(tmp_path / "run")))
    genes = read_genes([run])
    assert genes is not None
    chart = parallel_chart(genes, None, run.units, "parallel", "")
    assert chart is not None
    for index, unit in enumerate(run.units):
        drawn = [row[unit] for row in chart.rows]
        np.testing.assert_allclose(drawn, [row.unit_lrs[index] for row in run.rows])
