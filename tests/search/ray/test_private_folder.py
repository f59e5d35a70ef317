"""The folder of an embedded Ray: whose it is, where it lies, and when it goes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from revo_ray.errors import SearchError, UserError
from revo_ray.search.ray.private_folder import LONGEST, StartError, private_folder

KILLED = """
import os
from revo_ray.search.ray.private_folder import private_folder
with private_folder() as folder:
    os.mkdir(folder + "/session")
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which folders are made."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "place"))
    return tmp_path / "place"


def test_it_is_the_users_alone_and_goes(place: Path) -> None:
    with private_folder() as one, private_folder() as other:
        assert one != other
        assert stat.S_IMODE(Path(one).parent.stat().st_mode) == 0o700
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "kept"),
    [(SearchError("x"), 1), (StartError("x"), 1), (UserError("x"), 0), (KeyboardInterrupt(), 0)],
)
def test_logs_stay_after_a_failure_until_the_next_start(
    error: BaseException, kept: int, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with suppress(type(error)), private_folder() as folder:
        Path(folder, "session").mkdir()
        raise error
    left = list(place.iterdir())
    assert len(left) == kept
    assert [str(each) in caplog.text for each in left] == [True] * kept
    with private_folder():
        assert len(list(place.iterdir())) == 1


def test_one_that_was_killed_leaves_nothing_for_long(place: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert len(list(place.iterdir())) == 1
    (place / "rr-abcdefgh").mkdir(mode=0o700)  # not made here
    with private_folder():
        assert len(list(place.iterdir())) == 2
    assert list(place.iterdir()) == [place / "rr-abcdefgh"]


def test_a_temporary_folder_with_too_long_a_path_is_left_for_tmp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + "x" * LONGEST)
    with private_folder() as folder:
        assert Path(folder).parents[1] == Path("/tmp")


def test_where_no_folder_can_be_made(place: Path) -> None:
    place.write_text("a file")
    with pytest.raises(UserError, match="set RAY_TMPDIR to another"), private_folder():
        os.abort()
