"""Folders that hold one model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from revo_ray.rundir.run_directory import RunDirectory
from tests.search.core.by_hand import open_state, run


def test_the_weight_file_has_a_place_that_can_be_named(tmp_path: Path) -> None:
    run(open_state(tmp_path), tmp_path, stop_after=3)
    assert RunDirectory(str(tmp_path)).best.uri == str(tmp_path / "best" / "model.safetensors")


def test_no_file_holds_what_json_does_not_know(tmp_path: Path) -> None:
    run(state := open_state(tmp_path), tmp_path, stop_after=3)
    assert state.best is not None
    with pytest.raises(ValueError, match="not JSON compliant"):
        state.run.best.take(state.best, "models/x", {"mean": [float("nan")]})
    json.loads((tmp_path / "best" / "config.json").read_text())
