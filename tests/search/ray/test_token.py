"""The token of an embedded Ray, and the file that keeps it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from revo_ray.search.ray.token import FILE, MODE, TOKEN, asking_for_token


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without a token, and a user who decided on nothing."""
    for name in (TOKEN, FILE, MODE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".ray" / "auth_token"


def mode(path: Path) -> int:
    """The rights to a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_for_the_user_alone_and_stays(file: Path) -> None:
    with asking_for_token():
        assert os.environ[MODE] == "token"
        assert TOKEN not in os.environ
    assert (mode(file.parent), mode(file)) == (0o700, 0o600)
    token = file.read_text()
    assert len(token) == 64
    assert list(file.parent.iterdir()) == [file]
    assert MODE not in os.environ
    with asking_for_token():
        assert file.read_text() == token


def test_one_that_others_can_read_is_tightened(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("of the user")
    file.chmod(0o644)
    with asking_for_token():
        assert (mode(file), file.read_text()) == (0o600, "of the user")


def test_without_a_home_that_keeps_one_the_process_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with asking_for_token():
        token = os.environ[TOKEN]
    assert TOKEN not in os.environ
    with asking_for_token():
        assert os.environ[TOKEN] == token


@pytest.mark.parametrize(("name", "value"), [(TOKEN, "x" * 32), (FILE, "/x"), (MODE, "disabled")])
def test_the_user_decides(
    name: str, value: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with asking_for_token():
        assert os.environ[name] == value
        assert os.environ[MODE] == ("disabled" if name == MODE else "token")
    assert not file.exists()
