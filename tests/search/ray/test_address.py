"""The cluster that `--address auto` means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from revo_ray.errors import UserError
from revo_ray.search.ray import address, internals
from revo_ray.search.ray.address import CHOSEN, resolve
from revo_ray.search.ray.private_folder import PATHS, private_folder


@pytest.fixture(autouse=True)
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which Ray notes its cluster."""
    monkeypatch.delenv(CHOSEN, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


def test_the_users_own_note_is_read(note: Path) -> None:
    note.write_text("10.0.0.1:6379\n")
    assert resolve("auto") == "10.0.0.1:6379"
    assert resolve("10.0.0.2:1") == "10.0.0.2:1"
    assert resolve(None) is None


def test_one_that_was_named_by_a_variable_is_left_to_ray(
    note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note.symlink_to("elsewhere")
    monkeypatch.setenv(CHOSEN, "10.0.0.3:6379")
    assert resolve("auto") == "auto"


def test_links_and_folders_are_refused(note: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("10.0.0.1:6379")
    note.symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match="is not a file of this user"):
        resolve("auto")
    note.unlink()
    note.mkdir()
    with pytest.raises(UserError, match="is not a file of this user"):
        resolve("auto")


@pytest.mark.parametrize(
    ("found", "said"), [(set(), "none runs here"), ({"a:1", "b:2"}, "several run here: a:1, b:2")]
)
def test_without_a_note_one_process_must_show_it(
    found: set[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "process_addresses", lambda users, private: found)
    with pytest.raises(UserError, match=said):
        resolve("auto")
    monkeypatch.setattr(address, "process_addresses", lambda users, private: {"a:1"})
    assert resolve("auto") == "a:1"


def test_the_embedded_ray_of_a_search_is_no_cluster(tmp_path: Path) -> None:
    with private_folder() as folder:
        words = ["import sys; sys.stdin.read()", "--gcs-address=10.9.8.7:6543"]
        words.append(f"--raylet-name={folder}/session_1/sockets/raylet")
        process = subprocess.Popen([sys.executable, "-c", *words], stdin=subprocess.PIPE)
        try:
            owner = Path(f"/proc/{process.pid}").stat().st_uid
            assert "10.9.8.7:6543" not in (internals.process_addresses({owner}, PATHS) or ())
        finally:
            process.kill()
            process.wait()


def test_processes_of_others_are_not_asked() -> None:
    words = ["import sys; sys.stdin.read()", "--gcs-address=10.9.8.7:6543"]
    process = subprocess.Popen([sys.executable, "-c", *words], stdin=subprocess.PIPE)
    try:
        owner = Path(f"/proc/{process.pid}").stat().st_uid
        assert "10.9.8.7:6543" in (internals.process_addresses({owner}, PATHS) or ())
        assert internals.process_addresses({owner + 1}, PATHS) == set()
    finally:
        process.kill()
        process.wait()
