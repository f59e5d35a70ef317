"""`--json` and `--quiet` of whole searches and studies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.cli import ONE_WORKER, Cli

FEW = {"search__evaluations": "4", "search__population": "4", "train__epochs": "1"}
STUDY = {
    "study__methods": "[revo-continuous]",
    "study__data": "[digits]",
    "study__models": "[]",
    "study__fractions": "[0.05]",
    "study__seeds": "[0]",
}


@pytest.mark.nightly
def test_the_result_is_a_json_document(tmp_path: Path, one_ray: None) -> None:
    cli = Cli(tmp_path)
    dry = cli.run("search", "--json", "--dry-run", name="found", **FEW)
    assert dry.returncode == 0, dry.stderr
    assert json.loads(dry.stdout)["evaluations"] == 4
    done = cli.run("search", "--json", name="found", **FEW, **ONE_WORKER)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    written = json.loads((tmp_path / "found/result.json").read_text())
    assert result | {"directory": "."} == written
    assert Path(result["directory"]) == tmp_path / "found"
    assert "next: " in done.stderr
    quiet = cli.run("search", "--quiet", "--resume", name="found", **FEW, **ONE_WORKER)
    assert quiet.returncode == 0
    assert "next: " not in quiet.stdout
    assert "ledger: " in quiet.stdout
    assert quiet.stderr == ""
    study = cli.run("study", "preset:quick", "--json", name="all", **FEW, **STUDY, **ONE_WORKER)
    assert study.returncode == 0, study.stderr
    (only,) = json.loads(study.stdout)
    written = json.loads(Path(only["directory"], "result.json").read_text())
    assert only | {"directory": "."} == written


@pytest.mark.nightly
def test_a_search_without_a_result_is_one_document(cli: Cli, one_ray: None) -> None:
    wild = {"method__name": "revo-binary", "method__global_lr": "1e6"}
    done = cli.run("search", "--json", name="wild", **FEW, **wild, **ONE_WORKER)
    assert done.returncode == 3
    assert json.loads(done.stdout)["best"] is None
    assert "no evaluation succeeded" in done.stderr
    longer = FEW | wild | {"search__evaluations": "8", "search__stop_after": "0.001"}
    done = cli.run("search", "--json", "--resume", name="wild", **longer, **ONE_WORKER)
    assert done.returncode == 3
    assert json.loads(done.stdout)["stopped_by"] == "time"
    assert "no evaluation succeeded" in done.stderr
