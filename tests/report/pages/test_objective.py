"""The report of a search that optimises another metric than the loss."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from revo_ray.report.loaded_run import load_run
from revo_ray.report.pages.site import write_page
from revo_ray.report.study_report import study_report
from revo_ray.rundir import RunDirectory
from tests.report.evolved import write_evolved


@pytest.mark.slow
def test_a_search_for_balanced_accuracy_is_reported_by_it(tmp_path: Path) -> None:
    settings = ["search.objective=balanced_accuracy"]
    rows = list(write_evolved(tmp_path, "run", settings, failing=[13, 15]))
    directory = RunDirectory(str(tmp_path / "run"))
    best = max(rows, key=lambda row: row.val_balanced_accuracy or 0.0)
    assert best.val_loss != min(row.val_loss for row in rows if row.val_loss is not None)
    assert load_run(directory).best == best

    report = study_report(directory)
    page = Path(write_page(report).page).read_text()
    percent = f"{100 * (best.val_balanced_accuracy or 0.0):.1f} %"
    assert f"Evaluation {best.evaluation} has the best validation balanced accuracy of 40" in page
    assert f"<span>validation balanced accuracy</span><b>{percent}</b>" in page
    assert "best validation balanced accuracy of" in page
    assert "by its validation balanced accuracy" in report.tables_markdown
    assert "balanced accuracy: average ranks" not in report.markdown  # there is one method only

    figures = tmp_path / "run" / "report" / "figures"
    curve = list(csv.DictReader(io.StringIO((figures / "best-so-far.csv").read_text())))
    values = [row.val_balanced_accuracy or 0.0 for row in rows]
    drawn = [float(row["best_val_balanced_accuracy"]) for row in curve]
    assert drawn == np.maximum.accumulate(values).tolist()
    for row in curve[:10]:
        low, middle, high = (float(row[f"uninformed_{q}"]) for q in ("low", "median", "high"))
        assert low <= middle <= high
    chosen = csv.DictReader(io.StringIO((figures / "validation-test.csv").read_text()))
    assert [int(row["evaluation"]) for row in chosen if row["chosen"] == "1"] == [best.evaluation]
