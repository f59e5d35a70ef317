"""Folders that hold one model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from revo_ray.errors import UserError
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


SPOILT = {
    "classes": [5, [1], None],
    "image_size": [0, "a", None, []],
    "mean": [1, ["x"], [float("nan")], None],
    "evaluation": [-1, "x", None, [1]],
    "members": [{"../../x": 1}, {"5": None}, [1], {"5": -1, "6": 2}, {"5": 0.5}, {"-1": 1}, 3],
}


@pytest.mark.parametrize("key", SPOILT)
def test_a_description_of_other_types_is_one_line(tmp_path: Path, key: str) -> None:
    run(open_state(tmp_path), tmp_path)
    for form in ("best", "ensemble", "soup", "plain"):
        path = tmp_path / form / "config.json"
        whole = json.loads(path.read_text())
        for value in SPOILT[key]:
            path.write_text(json.dumps(whole | {key: value}))
            with pytest.raises(UserError, match=f"{form} is damaged"):
                RunDirectory(str(tmp_path)).form(form)
        path.write_text("{}")
        with pytest.raises(UserError, match=f"{form} is damaged"):
            RunDirectory(str(tmp_path)).form(form)
