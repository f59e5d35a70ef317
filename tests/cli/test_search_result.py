"""The result that a search prints: a row for each form of it, and where its files lie."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from revo_ray.cli.search_result import show_result
from revo_ray.rundir import RunDirectory
from tests.report.studies import write_search
from tests.report.tested import random_answers, write_tested


def shown(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> str:
    outcome = run.outcome()
    assert outcome is not None
    show_result(outcome, None, None)
    return capsys.readouterr().out


def test_a_row_for_each_form_and_the_result_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logits, labels = random_answers(3, 60)
    run = write_tested(tmp_path, "run", logits, labels, "abc", form="soup")
    text = shown(run, capsys)
    percent = f"{100 * (logits.argmax(1) == labels).mean():.1f} %"
    rows = {line[:22].strip(): re.split(r"  +", line.strip()) for line in text.splitlines()}
    for form in ("best model", "ensemble", "soup (the result)", "plain fine-tuning"):
        assert rows[form][1] == rows[form][3] == rows[form][4] == percent
    assert text.count("(the result)") == 1
    assert "the best of 4 evaluations of the sweep; the other forms were chosen from all 12" in text
    assert f"model:       {tmp_path}/run/soup\n" in text
    assert "test (once)" in text  # the best one's looks, not those of all forms


def test_an_older_result_has_no_table_of_forms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_search(tmp_path, "run")
    text = shown(RunDirectory(str(tmp_path / "run")), capsys)
    assert "ensemble" not in text
    assert "cross-fitted" not in text
    assert f"model:       {tmp_path}/run/best/model.safetensors" in text


def test_the_table_fits_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.arange(60) % 3
    run = write_tested(tmp_path, "run", np.eye(3, dtype=np.float32)[labels] * 9, labels, "abc")
    text = shown(run, capsys)
    (header,) = (line for line in text.splitlines() if "cross-fitted" in line)
    assert len(header.rstrip()) <= 80
