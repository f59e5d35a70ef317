"""The best of random draws, compared with brute force; and what a sweep is drawn as."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from revo_ray.report.figures.best_so_far import best_of_draws, search_curve
from revo_ray.report.loaded_run import load_run
from revo_ray.rundir import RunDirectory
from tests.report.evolved import write_evolved
from tests.report.studies import write_search


@pytest.mark.parametrize("losses", [[3.0, 1.0, 2.0, 5.0, 4.0], [2.0, np.inf, 2.0, np.inf, 1.0]])
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_best_of_random_draws_is_that_of_all_orders(
    losses: list[float], quantile: float
) -> None:
    curves = [np.minimum.accumulate(order) for order in itertools.permutations(losses)]
    expected = np.quantile(curves, quantile, axis=0, method="inverted_cdf")
    assert best_of_draws(sorted(losses), quantile).tolist() == expected.tolist()


@pytest.mark.parametrize("failing", [(), (2, 9), range(10)])
def test_a_sweep_is_marked_with_its_best_and_stands_for_no_draws(
    tmp_path: Path, failing: Sequence[int]
) -> None:
    write_evolved(tmp_path, "run", ["method.sweep=true"], failing=failing)
    run = load_run(RunDirectory(str(tmp_path / "run")))
    chart = search_curve(run)
    assert chart is not None
    lines = {str(line.get_label()): line for line in chart.figure.axes[0].lines}
    swept = {row.evaluation: row.val_loss for row in run.rows[:10] if row.val_loss is not None}
    assert dict(zip(*lines["sweep"].get_data(), strict=True)) == swept
    if swept:
        assert set(lines["best of the sweep"].get_ydata()) == {min(swept.values())}
    else:
        assert "best of the sweep" not in lines
    assert not [label for label in lines if "draws" in label]
    assert {row["uninformed_median"] for row in chart.rows} == {None}
    assert "the sweep, the first 10 evaluations" in chart.caption
    write_evolved(tmp_path, "drawn")
    chart = search_curve(load_run(RunDirectory(str(tmp_path / "drawn"))))
    assert chart is not None
    assert "sweep" not in chart.caption


@pytest.mark.parametrize("losses", [[0.5, 0.0, 0.3], [0.5, 1e-9, 0.3], [0.0, 0.0, 0.0]])
def test_a_loss_of_zero_is_the_best_mark_of_a_readable_axis(
    tmp_path: Path, losses: list[float]
) -> None:
    write_search(tmp_path, "run", losses=losses)
    run = load_run(RunDirectory(str(tmp_path / "run")))
    chart = search_curve(run)
    assert chart is not None
    axes = chart.figure.axes[0]
    low, high = axes.get_ylim()
    assert low > 1e-7
    assert [tick for tick in axes.get_yticks() if low <= tick <= high]
    lines = {str(line.get_label()): line for line in axes.lines}
    assert lines[f"best, {min(losses):.2g}"].get_ydata()[0] >= low
    assert all(float(value) >= low for value in lines["best so far"].get_ydata())
    assert not [label for label in lines if "worse" in label]
    assert [row["best_val_loss"] for row in chart.rows] == list(np.minimum.accumulate(losses))


@pytest.mark.parametrize("evaluations", [2, 4, 40])
def test_evaluations_are_numbered_as_in_the_ledger(tmp_path: Path, evaluations: int) -> None:
    write_evolved(tmp_path, "run", evaluations=evaluations)
    run = load_run(RunDirectory(str(tmp_path / "run")))
    chart = search_curve(run)
    assert chart is not None
    axes = chart.figure.axes[0]
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    lines = {str(line.get_label()): line for line in axes.lines}
    for label in ("each evaluation", "best so far"):
        assert list(lines[label].get_xdata()) == [row.evaluation for row in run.rows]
