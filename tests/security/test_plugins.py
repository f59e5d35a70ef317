"""A configuration names plugins, and may come from anyone: it makes no command run other code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.commands import revo, sets

pytestmark = pytest.mark.slow

PLUGIN = """
from pathlib import Path
Path(__file__).with_name("imported").touch()
from beside import NAME
from revo_ray.methods import RevoContinuous


class Mine(RevoContinuous):
    \"\"\"A method of one's own.\"\"\"

    name = NAME


METHODS = [Mine]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration and the plugin that it names."""
    made = tmp_path / "mine"
    made.mkdir()
    (made / "config.yaml").write_text(f"plugins: [baselines, helper]\nstorage: {tmp_path}/out\n")
    (made / "helper.py").write_text(PLUGIN)
    (made / "beside.py").write_text("NAME = 'mine'\n")
    return made


@pytest.mark.parametrize(
    "words",
    [
        ("search", "config.yaml"),
        ("submit", "config.yaml", "--address", "http://127.0.0.1:9"),
        ("methods", "--plugin", "helper"),
    ],
    ids=lambda words: words[0],
)
def test_a_configuration_runs_no_module_of_its_folder(folder: Path, words: tuple[str, ...]) -> None:
    done = revo(*words, *(sets("method.name=mine") if words[0] != "methods" else ()), folder=folder)
    assert not (folder / "imported").exists()
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "cannot load methods from 'helper'" in line
    assert "it lies in the current folder; give --plugin-path . if you trust its code" in line


def test_a_configuration_runs_no_module_of_python(folder: Path, tmp_path: Path) -> None:
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\ntouch {opened}\n")
    browser.chmod(0o755)
    done = revo(
        *("methods", "--plugin", "antigravity"),
        folder=folder,
        environment={"BROWSER": str(browser)},
        fresh=True,
    )
    assert not opened.exists()
    assert done.returncode == 2, done.stdout + done.stderr
    assert "antigravity is a module of Python" in done.stderr
