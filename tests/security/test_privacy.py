"""A result that is handed on: it names neither the user's folders nor the user's machine."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path

import pytest

from tests.security.commands import revo

pytestmark = pytest.mark.slow

NAME = "alice-liddell"


@pytest.fixture
def owned(made_run: Path, run: Path, tmp_path: Path) -> Path:
    """The search as one that was made in the home folder of somebody."""
    config = run / "config.yaml"
    home = f"/home/{NAME}"
    text = config.read_text().replace(f"storage: {made_run.parent}", f"storage: {home}/results")
    config.write_text(text.replace("root: null", f"root: {home}/photos"))
    assert config.read_text().count(NAME) == 2
    return run


def test_result_json_does_not_say_where_it_was_made(made_run: Path) -> None:
    text = (made_run / "result.json").read_text()
    assert str(made_run.parent) not in text
    assert json.loads(text)["directory"] == "."


def test_no_row_holds_the_name_of_the_machine(made_run: Path) -> None:
    rows = [json.loads(row.read_text()) for row in sorted((made_run / "ledger").glob("*.json"))]
    assert rows
    host = socket.gethostname()
    assert all(not row["node"].startswith(f"{host}:") for row in rows)
    named = f"node-{hashlib.sha256(host.encode()).hexdigest()[:4]}:"
    assert all(row["node"].startswith(named) for row in rows)


def test_the_report_names_no_home_folder(owned: Path, tmp_path: Path) -> None:
    done = revo("report", owned, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for file in (owned / "report").rglob("*"):
        assert file.is_dir() or NAME.encode() not in file.read_bytes(), file
    assert "root: ~/photos" in (owned / "report" / "index.html").read_text()


def test_an_exported_model_names_no_home_folder(
    owned: Path, made_run: Path, tmp_path: Path
) -> None:
    done = revo("export", owned, "--to", "safetensors", "--out", "made", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for file in (tmp_path / "made").rglob("*"):
        content = b"" if file.is_dir() else file.read_bytes()
        assert NAME.encode() not in content, file
        assert str(made_run.parent).encode() not in content, file
