"""Properties of every figure: short captions, users' units, and nothing left out in silence."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from revo_ray.report.figures.best_so_far import search_curve
from revo_ray.report.figures.chart import Chart
from revo_ray.report.figures.genes import read_genes
from revo_ray.report.figures.optimism import chosen_chart
from revo_ray.report.figures.parallel import line_colours, parallel_chart
from revo_ray.report.figures.rates import rates_by_depth
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


@pytest.mark.nightly
def test_captions_are_short_and_count_what_they_leave_out(tmp_path: Path) -> None:
    charts: list[Chart] = [
        chart for page in pages(tmp_path) for section in page.shown for chart in section.drawn
    ]
    assert {chart.name.partition("-")[0] for chart in charts} >= {"best", "parallel", "rates"}
    long = {chart.caption for chart in charts if len(chart.caption.split()) > MOST_WORDS}
    assert not long


def drawn_rows(chart: Chart) -> int:
    """Number of evaluations that a chart has a mark for."""
    axes = chart.figure.axes[0]
    if chart.name == "best-so-far":
        lines = {str(line.get_label()): line for line in axes.lines}
        marks = (lines[label] for label in ("each evaluation", "failed") if label in lines)
        return sum(len(np.asarray(line.get_xdata())) for line in marks)
    if chart.name == "parallel":
        return sum(len(lines.get_segments()) for lines in axes.findobj(LineCollection))
    if chart.name == "rates-by-depth":
        return sum({row["plans"]: row["n"] for row in chart.rows}.values())
    assert chart.name == "validation-test"
    return round(sum(bar.get_height() for bar in axes.patches))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rateless", [False, True])
def test_every_evaluation_is_drawn_or_counted(tmp_path: Path, method: str, rateless: bool) -> None:
    """`rateless`: a row without a plan, which no figure of rates can draw."""
    write_evolved(tmp_path, "run", ["method.sweep=true"] * (method != "random"), method=method,
                  failing=[12, 13, 21], units=30)  # fmt: skip
    run = load_run(RunDirectory(str(tmp_path / "run")))
    if rateless:
        run.rows[25] = run.rows[25].model_copy(update={"unit_lrs": []})
        run.rows[26] = run.rows[26].model_copy(update={"status": "cached"})
    genes = read_genes([run])
    assert genes is not None
    charts = {
        "best-so-far": search_curve(run),
        "parallel": parallel_chart(genes, None, run.units, "parallel", ""),
        "rates-by-depth": rates_by_depth(run),
        "validation-test": chosen_chart(run),
    }
    for name, chart in charts.items():
        assert chart is not None
        (note,) = re.findall("Left out: ([^.]*)", chart.caption) or [""]
        left_out = sum(int(word) for word in note.split() if word.isdigit())
        assert drawn_rows(chart) + left_out == len(run.rows), (name, note)


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


@pytest.mark.parametrize("units", [3, 30])
def test_frozen_units_have_a_rate_of_zero_in_the_data(tmp_path: Path, units: int) -> None:
    write_evolved(tmp_path, "run", units=units)
    run = load_run(RunDirectory(str(tmp_path / "run")))
    for row in run.rows[::2]:
        row.unit_lrs[: units // 2] = [0.0] * (units // 2)
    genes = read_genes([run])
    assert genes is not None
    chart = parallel_chart(genes, None, run.units, "parallel", "")
    assert chart is not None
    names = [name for name in chart.rows[0] if name not in ("search", "val_loss_rank", "loss_rank")]
    first, last = names[0], names[-1]
    assert [row[first] for row in chart.rows[::2]] == [0.0] * len(chart.rows[::2])
    lowest = min(min(rate for rate in row.unit_lrs if rate) for row in run.rows)
    for row in chart.rows:
        assert all(row[name] == 0 or row[name] >= lowest * 0.999 for name in names)
    texts = [text.get_text() for text in chart.figure.axes[0].texts]
    assert "frozen" in texts
    grouped = units > 8
    assert first.endswith("*") == grouped
    assert not last.endswith("*")
    assert ("Star: without the units that are frozen." in chart.caption) == grouped
