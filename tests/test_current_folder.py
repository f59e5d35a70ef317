"""The current folder leaves Python's path where a command begins, and only there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from revo_ray.current_folder import leave_out_current_folder
from tests.security.commands import CHECKOUT


def left(
    monkeypatch: pytest.MonkeyPatch, folder: Path, path: list[str], variable: str | None
) -> tuple[list[str], str | None]:
    """Python's path, and the variable, once a command has begun in a folder."""
    monkeypatch.chdir(folder)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [*path])
        if variable is None:
            patch.delenv("PYTHONPATH", raising=False)
        else:
            patch.setenv("PYTHONPATH", variable)
        leave_out_current_folder()
        return sys.path, os.environ.get("PYTHONPATH")


def test_the_folder_goes_whoever_put_it_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here, lib = str(tmp_path), str(tmp_path / "lib")
    for path, variable, kept in (
        ([here, "/python"], None, None),
        (["/bin", here, "/python"], "", None),
        (["", here, "/x", "/python"], ":/x", "/x"),
        ([here, "/python"], ".", None),
        ([here, "/x", here, "/python"], f"/x:{here}", "/x"),
        ([here, lib, "/python"], "lib", lib),  # for processes that start elsewhere
    ):
        now, after = left(monkeypatch, tmp_path, path, variable)
        assert now == [entry for entry in path if entry not in ("", here)]
        assert after == kept


def test_what_is_installed_from_the_folder_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = str(tmp_path)
    now, _ = left(monkeypatch, tmp_path, ["/bin", "/python", here], None)
    assert now == ["/bin", "/python", here]


def test_the_checkout_that_runs_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(CHECKOUT)
    assert left(monkeypatch, CHECKOUT, [here, "/python"], f"{here}:") == (
        [here, "/python"],
        f"{here}:",
    )


def test_a_folder_that_is_deleted_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", ["", "/python"])
        patch.setenv("PYTHONPATH", "lib:/x:")
        leave_out_current_folder()
        assert sys.path == ["/python"]
        assert os.environ["PYTHONPATH"] == "lib:/x"


def test_a_program_that_imports_the_package_keeps_its_path() -> None:
    before = [*sys.path]
    import revo_ray.__main__  # noqa: F401

    assert sys.path == before
