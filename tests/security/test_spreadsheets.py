"""Cells that a spreadsheet would compute: no csv file holds one."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.security.commands import revo

pytestmark = pytest.mark.slow

FORMULAS = ("=1+cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "＝1")
COMPUTED = ("=", "+", "-", "@", "\t", "\r", "\n", "＝")


def texts(content: str) -> list[str]:
    """Cells of a csv file that are no numbers."""
    found = []
    for row in csv.reader(io.StringIO(content, newline="")):
        for cell in row:
            try:
                float(cell)
            except ValueError:
                found.append(cell)
    return found


def check(content: str) -> None:
    """No cell is computed, and the formulas are there as text."""
    cells = texts(content)
    assert not [cell for cell in cells if cell.startswith(COMPUTED)]
    assert [cell for cell in cells if cell.startswith("'=1+cmd")]


def test_a_report_holds_no_formula(run: Path) -> None:
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(
        config.replace("name: revo-continuous", f"name: {json.dumps(FORMULAS[0])}")
    )
    done = revo("report", run, folder=run.parent)
    assert done.returncode == 0, done.stderr
    tables = sorted((run / "report").rglob("*.csv"))
    assert tables
    for path in tables:
        cells = texts(path.read_text())
        assert not [cell for cell in cells if cell.startswith(COMPUTED)], path
    check((run / "report" / "results.csv").read_text())
