"""A finished search, made once for all tests of this folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.security.commands import SMALL, revo, sets
from tests.security.seen import watched


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of these tests, which older revisions do not have."""
    config.addinivalue_line("markers", "slow: starts processes")


@pytest.fixture(scope="session")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a search of four evaluations, which all processes of pytest share."""
    name = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if name else base) / "security"
    with FileLock(f"{folder}.lock"):
        run = folder / "searched"
        if not (run / "result.json").exists():
            folder.mkdir(exist_ok=True)
            done = revo(
                "search", *sets(*SMALL, f"storage={folder}", "name=searched"), folder=folder
            )
            assert done.returncode == 0, done.stdout + done.stderr
    return run


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Observations of a search, and of the commands that follow one, from outside."""
    name = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    base = tmp_path_factory.getbasetemp()
    file = (base.parent if name else base) / "seen.json"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
                file.write_text(json.dumps(watched(Path(folder))))
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.fixture
def run(made_run: Path, tmp_path: Path) -> Path:
    """A copy of that run directory, in which an attacker may change what they like."""
    return Path(shutil.copytree(made_run, tmp_path / "searched"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a path that is short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
