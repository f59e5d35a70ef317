"""Ray starts in an empty folder, which nobody else can write or guess."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from revo_ray.installation import CHECKOUT
from revo_ray.search.core.paths import JOB
from revo_ray.search.ray.start_folder import start_folder, starting_in


def test_the_folder_lies_where_it_should_and_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "place"
    place.mkdir()
    with start_folder(str(place)) as folder:
        assert folder is not None
        assert folder.parent.parent == place
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert len(folder.name) == 32
        with starting_in(folder):
            assert os.listdir(os.curdir) == []
            assert Path.cwd() == folder
        assert Path.cwd() == tmp_path
    assert list(place.iterdir()) == []


def test_paths_in_rays_variables_stay_those_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "token")
    with start_folder() as folder, starting_in(folder):
        assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")


@pytest.mark.parametrize("reason", ["job", "checkout"])
def test_code_that_lies_in_the_current_folder_is_found(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason == "job":
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv(JOB, "{}")
    else:
        monkeypatch.chdir(CHECKOUT)
        monkeypatch.delenv(JOB, raising=False)
    with start_folder() as folder, starting_in(folder):
        assert folder is None
